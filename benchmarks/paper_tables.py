"""Tables of what the paper says: its space-time designs, its energy, its data sets."""

from __future__ import annotations

import math
from collections.abc import Mapping

from benchmarks.results import Line, distributions, growth, load
from svf_edge.runtimes.energy.models import E_AC, E_MAC
from svf_edge.runtimes.energy.report import EnergyReport


def spacetime() -> str:
    """Parameters and cost over time of every form of attention."""
    result = load("spacetime")
    width, machine = result["width"], result["machine"]
    lines = [
        "| form | similarity | attention weights | slope, ms a frame | at zero, ms | worst point off the line | "
        "R squared | growth exponent | 32 frames, ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        points = {float(frames): one.p50 for frames, one in distributions(row["samples_ms"]).items()}
        line = Line.fit(points)
        lines.append(
            f"| {row['form']} | {row['mode']} | {row['weights'] / width**2:g} D^2 | {line.slope:.3f} | "
            f"{line.intercept:.2f} | {line.worst:.0%} | {line.r_squared:.4f} | {growth(points):.2f} | "
            f"{points[max(points)]:.1f} |"
        )
    frames = list(result["rows"][0]["samples_ms"])
    return "\n".join(
        [
            *lines,
            "",
            "![Time over frames](plots/spacetime.svg)",
            "",
            f"Clips of {frames[0]} to {frames[-1]} frames of {result['side']} x {result['side']}; D = {width}, two "
            f"blocks, binary spikes at {result['rate']:.0%} firing; ONNX Runtime packed, medians of CPU time of one "
            f"thread of an {machine['cpu']}, load average {result['load_before'][0]:.1f} before.",
        ]
    )


def energy_shipped() -> str:
    """The shipped model's three numbers."""
    result = load("energy")
    report = EnergyReport.model_validate(result["shipped"])
    lines = [
        "| | spiking, uJ | dense twin, uJ | times less | even at, spikes per neuron |",
        "|---|---|---|---|---|",
    ]
    for name, one in (("operations, as the paper counts", report.operations), ("with memory", report.with_memory)):
        even = "no rate" if one.even_rate is None else f"{one.even_rate:.3f}"
        lines.append(
            f"| {name} | {one.spiking.total / 1e6:.1f} | {one.dense.total / 1e6:.1f} | {one.gain:.2f} | {even} |"
        )
    spiking, dense = report.with_memory.spiking, report.with_memory.dense
    parts = ("arithmetic", "operands", "activations", "membranes", "weights")
    return "\n".join(
        [
            *lines,
            "| measured rails | not measured: no device with rails was at hand | | | |",
            "",
            "Where the second row goes:",
            "",
            f"| | {' | '.join(parts)} |",
            "|---|---|---|---|---|---|",
            *(
                f"| {name} | {' | '.join(f'{getattr(share, part) / share.total:.0%}' for part in parts)} |"
                for name, share in (("spiking", spiking), ("dense twin", dense))
            ),
            "",
            f"{report.sentence}",
        ]
    )


def energy_sizes() -> str:
    """Operations of one frame of the published sizes."""
    result = load("energy")
    lines = [
        "| size | M MACs a frame | pixels | int8 | spikes | attention | dense, mJ a frame | spiking at 0.1, mJ | "
        "at 0.2, mJ |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for size, kinds in result["frame_224"].items():
        total = sum(kinds.values())
        shares = " | ".join(f"{kinds[kind] / total:.1%}" for kind in ("frames", "int8", "spikes", "attention"))
        spiking = " | ".join(f"{_strict(kinds, rate):.2f}" for rate in (0.1, 0.2))
        lines.append(f"| {size} | {total / 1e6:,.0f} | {shares} | {E_MAC * total / 1e9:.2f} | {spiking} |")
    return "\n".join(lines)


def energy_published() -> str:
    """The published figures beside what our counts make of them."""
    result = load("energy")
    lines = [
        "| figure | published, mJ | counted as | G MACs a clip | dense, mJ | spikes per neuron that it implies | "
        "at that rate, int8 layers as MACs, mJ | dense / published |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["published"]:
        shape = "x".join(map(str, (row["frames"], *row["frame_size"])))
        for name, kinds in row["operations"].items():
            clip = {kind: macs * row["frames"] for kind, macs in kinds.items()}
            total, stem = sum(clip.values()), clip["frames"]
            rate = (row["millijoules"] * 1e9 - E_MAC * stem) / (E_AC * (total - stem))
            dense = E_MAC * total / 1e9
            lines.append(
                f"| {row['task']} | {row['millijoules']} | {row['size']}, {shape}, RepConv {name} "
                f"| {total / 1e9:,.0f} | {dense:,.0f} | {rate:.3f} | {_strict(clip, rate):,.0f} | "
                f"{dense / row['millijoules']:.1f} |"
            )
    return "\n".join(lines)


def _strict(kinds: Mapping[str, int], rate: float) -> float:
    """Millijoules at `rate` spikes per neuron: pixels and int8 multiplied, half of attention at any rate."""
    multiplied = kinds["frames"] + kinds["int8"]
    added = kinds["spikes"] * rate + kinds["attention"] * (1 + rate) / 2
    return (E_MAC * multiplied + E_AC * added) / 1e9


TRAIN_CLIPS, VAL_CLIPS = 240_436, 19_796
"""Videos of the copy of Kinetics-400 that MMAction2's model zoo was trained on; links die, so copies differ."""
EPOCHS, FRAMES = 30, 16
PEAK = {"A100": 312e12, "H100": 989e12}
"""Dense bf16 operations per second by their data sheets, a multiply-accumulate being two."""
REACHED = 0.25


def kinetics() -> str:
    """The plan's numbers."""
    result = load("kinetics")
    video, clip = result["video"], result["clip"]
    cores = {name: 1 / result[f"clips_per_second_from_{name}"] for name in ("videos", "shards")}
    videos, shards = (TRAIN_CLIPS + VAL_CLIPS) * video["bytes"], 4 * TRAIN_CLIPS * result["shard_bytes_per_clip"]
    shape = "x".join(map(str, (clip["frames"], *clip["size"])))
    lines = [
        "| what | number | from |",
        "|---|---|---|",
        f"| training and validation videos | {TRAIN_CLIPS:,} + {VAL_CLIPS:,} | the copy of MMAction2's model zoo |",
        f"| videos at {video['size'][1]}x{video['size'][0]} | {videos / 1e9:,.0f} GB | "
        f"{video['bytes'] / 1e3:,.0f} kB for {video['seconds']} s, one encoded here |",
        f"| shards, clips of {shape}, four a video | {shards / 1e9:,.0f} GB | "
        f"{result['shard_bytes_per_clip'] / 1e3:,.0f} kB a clip, cut here |",
        f"| decoding | {result['decoded_frames_per_second']:,.0f} frames a second and core | measured here |",
        f"| a clip out of its video | {cores['videos']:.2f} core-seconds | measured here |",
        f"| a clip out of a shard | {cores['shards']:.3f} core-seconds | measured here |",
    ]
    kinds = load("energy")["frame_224"]
    lines += [
        "",
        f"| size | T MACs a training clip | {' | '.join(f'{gpu} hours, {EPOCHS} epochs' for gpu in PEAK)} | clips a "
        "second of one H100 | cores to feed it from videos | from shards |",
        "|---|---|" + "---|" * len(PEAK) + "---|---|---|",
    ]
    for size, counts in kinds.items():
        macs = 3 * FRAMES * sum(counts.values())  # forward, and twice that backward
        seconds = {gpu: 2 * macs / (peak * REACHED) for gpu, peak in PEAK.items()}
        hours = " | ".join(f"{TRAIN_CLIPS * EPOCHS * one / 3600:,.0f}" for one in seconds.values())
        rate = 1 / seconds["H100"]
        feeding = " | ".join(f"{math.ceil(rate * one)}" for one in cores.values())
        lines.append(f"| {size} | {macs / 1e12:.2f} | {hours} | {rate:,.0f} | {feeding} |")
    machine = result["machine"]
    return "\n".join(
        [
            *lines,
            "",
            f"CPU time on an {machine['cpu']}, load average {result['load_before'][0]:.1f} before.",
        ]
    )
