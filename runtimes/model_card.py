"""The model card: what a model is and reaches, as JSON of measured results, and the page made of nothing but that."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from svf_edge.data.mocap import VALIDATION_MOTIONS
from svf_edge.files import sha256
from svf_edge.model.network import parameter_count
from svf_edge.model_store import load_model
from svf_edge.runtimes.base import Progress, Result, no_progress
from svf_edge.runtimes.evaluation import EvalReport, evaluate_model
from svf_edge.tasks.scores import Score
from svf_edge.training_config import TrainConfig

PHOTOGRAPHS_SINCE = 2
"""The first generator version that shows photographs behind people."""


class File(Result):
    """A file of the model: its size in bytes and its SHA-256."""

    size: int
    sha256: str


class ModelCard(Result):
    """All that the page shows. `meta` is the checkpoint's own record of its training."""

    name: str
    parameters: int
    files: Mapping[str, File]
    meta: Mapping[str, Any]
    evaluations: tuple[EvalReport, ...]


def measure(
    name: str,
    checkpoint: Path,
    program: Path,
    narrow: Path,
    parameters: int,
    *,
    program_runtime: str = "onnxruntime packed",
    clips: int | None = None,
    progress: Progress = no_progress,
) -> ModelCard:
    """The card of a quantised `checkpoint`, the `program` frozen from it and the one of `narrow` weights.

    The first two are evaluated on synthetic and on real clips, on `clips` of each, the program on `program_runtime`.
    `parameters` are those of the float model, whose BatchNorms are not folded yet.
    """
    _, meta = load_model(checkpoint)
    reports = [
        evaluate_model(path, data, runtime, clips, progress=progress).report
        for data in ("synthetic", "real")
        for path, runtime in ((checkpoint, "torch"), (program, program_runtime))
    ]
    files = {path.name: File(size=path.stat().st_size, sha256=sha256(path)) for path in (checkpoint, program, narrow)}
    return ModelCard(name=name, parameters=parameters, files=files, meta=meta, evaluations=tuple(reports))


def float_parameters(checkpoint: Path) -> int:
    """Parameters of the model in `checkpoint` before its BatchNorms were folded."""
    from svf_edge.model.network import SpikeVideoFormer

    model, _ = load_model(checkpoint)
    return parameter_count(SpikeVideoFormer(model.config))


def render(card: ModelCard) -> str:
    """The page, Markdown; the same text for the same card."""
    parts = [_head(card), _accuracy(card), _joints(card), _training(card), _rates(card), _limits(card), _licences(card)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(card: ModelCard) -> list[str]:
    report = card.evaluations[0]
    files = [f"| `{name}` | {file.size / 1e6:.2f} MB | `{file.sha256[:16]}` |" for name, file in card.files.items()]
    height, width = report.size
    return [
        f"# {card.name}",
        "",
        f"Generated from `{card.name}.json` by `tools/make_shipped_model.py`; every number comes from that file.",
        "",
        f"A spiking video transformer that finds {len(report.scores.per_part['mpjpe_px'])} joints of one person in "
        f"every frame of a clip of {report.frames} RGB frames of {height}x{width} pixels, cropped around the person. "
        f"{card.parameters:,} parameters.",
        "",
        "| file | size | SHA-256 |",
        "|---|---|---|",
        *files,
        "",
        "The first is the quantised checkpoint, the second the integer program frozen from it, which every runtime "
        "runs with the same spikes, the third the one of weights of 4 bits, calibrated without training from the same "
        "float network. Measure them again with `svf-edge eval FILE --data real`.",
    ]


def _accuracy(card: ModelCard) -> list[str]:
    lines = ["## Accuracy"]
    for data in dict.fromkeys(report.data for report in card.evaluations):
        reports = [report for report in card.evaluations if report.data == data]
        first = reports[0]
        names = list(first.scores.overall)
        rows: dict[str, Mapping[str, Score]] = {
            f"{report.kind} ({report.runtime})": report.scores.overall for report in reports
        }
        rows |= {"difference to the mean pose": first.advantage, **first.baselines}
        groups = "clips" if first.groups == first.clips else f"{first.groups} videos"
        lines += [
            "",
            f"On {first.clips} {first.description}. Below each value is its {first.interval_level:.0%} bootstrap "
            f"interval, drawing {groups}:",
            "",
            *_table(["", *names], ([row, *map(_bounded, names, scores.values())] for row, scores in rows.items())),
        ]
    count = card.evaluations[0].baseline_clips
    return [
        *lines,
        "",
        "PCK@t is the share of visible joints within t times the longer side of the person's box. Errors are in pixels "
        "of the model's input; PA- is after the best similarity, PEL- after subtracting the middle of the hips; jitter "
        "is the error of second differences over time, in pixels per frame squared. The difference is paired: model "
        "and mean pose on the same clips. Both mean poses look at no frame "
        f"and are fitted on {count} training clips; the second is told the labelled box, which no model is.",
    ]


def _joints(card: ModelCard) -> list[str]:
    chosen = {report.data: report for report in reversed(card.evaluations)}
    columns = {
        f"{data} {name}": report.scores.per_part[name]
        for data, report in sorted(chosen.items(), reverse=True)
        for name in ("pck@0.1", "pck@0.2")
    }
    joints = next(iter(columns.values()))
    lines = ["## By joint and motion", ""]
    lines += _table(
        ["joint", *columns], ([j, *(_plain("pck", column[j]) for column in columns.values())] for j in joints)
    )
    lines += [""]
    kinds = [
        (data, kind, scores)
        for data, report in sorted(chosen.items(), reverse=True)
        for kind, scores in report.scores.per_kind.items()
    ]
    shown = ("pck@0.1", "pck@0.2", "mpjpe_px")
    lines += _table(
        ["clips", "motion or video", *shown],
        ([data, kind, *(_plain(name, scores[name].value) for name in shown)] for data, kind, scores in kinds),
    )
    return lines


STAGES = {
    "mean_pose": "mean pose of the training set (no network)",
    "float": "float",
    "post_training_quantisation": "quantised, before QAT",
    "metrics": "quantised, after QAT",
    "integer_program": "integer program",
    "narrow_program": "integer program, weights of 4 bits",
}


def _training(card: ModelCard) -> list[str]:
    meta = card.meta
    config: Mapping[str, Any] = meta["training"]
    lines = [
        "## Training",
        "",
        f"Recipe `{config['name']}`, seed {config['seed']}: {_shown(config)}. Clips come from version "
        f"{meta['generator_version']} of the generator (`svf_edge.data.synthetic`), which plays motion capture on "
        f"rendered people; the motions {', '.join(sorted(VALIDATION_MOTIONS))} are never trained on.",
    ]
    before = meta.get("started_from")
    if before is not None:
        lines += [
            "",
            f"It went on from an earlier quantised checkpoint: "
            f"{_shown(before['training'])}, of version {before['generator_version']} of the generator, in "
            f"{before['training_seconds'] / 3600:.1f} hours on {before['hardware']}.",
        ]
    if "training_seconds" in meta:
        hours = meta["training_seconds"] / 3600
        lines += ["", f"It took {hours:.1f} hours on {meta['hardware']}."]
    stages = {text: meta[stage] for stage, text in STAGES.items() if stage in meta}
    names = [name for name in meta["metrics"] if all(name in metrics for metrics in stages.values())]
    return [
        *lines,
        "",
        f"What the run itself recorded, on {meta.get('validation', 'its validation clips')}:",
        "",
        *_table(["", *names], ([text, *(_plain(n, m[n]) for n in names)] for text, m in stages.items())),
    ]


def _shown(config: Mapping[str, Any]) -> str:
    """What a run showed the network, phase by phase."""
    what = {
        "dense": "{:,} single frames to the dense twin",
        "image": "{:,} single frames",
        "float": f"{{:,}} clips of {config['model']['frames']} frames",
        "qat": "{:,} clips with quantisation",
    }
    phases = TrainConfig.model_validate(config).phases
    return ", then ".join(what[name].format(phase.epochs * phase.clips_per_epoch) for name, phase in phases.items())


def _rates(card: ModelCard) -> list[str]:
    report = next(report for report in card.evaluations if report.firing_rates)
    widest = max(len(layer) for layer in report.firing_rates)
    highest = max(report.firing_rates.values())
    bars = [
        f"{layer:{widest}}  {rate:6.1%}  {'█' * max(1, round(30 * rate / highest))}"
        for layer, rate in report.firing_rates.items()
    ]
    assert report.firing_rate is not None
    return [
        "## Firing rates",
        "",
        f"Spikes per neuron, level and time step on the {report.data} clips; mean over layers "
        f"{report.firing_rate:.1%}.",
        "",
        "```",
        *bars,
        "```",
    ]


def _limits(card: ModelCard) -> list[str]:
    real = next(report for report in card.evaluations if report.data == "real")
    return [
        "## Limits",
        "",
        "- One person, in a crop around them that something else must find. Nothing says whether a person is there.",
        "- Trained on rendered people only. What it does on real ones is the table of real clips and nothing more.",
        f"- The real clips are {real.groups} short videos of few people, some of one performance seen by several "
        "cameras, so their interval is wide and still flatters. Their labels are a peer's opinion, not ground truth, "
        "and the crops are made with them.",
        "- They were looked at while the generator was made: that people bend, balance and go without a shirt came in "
        "after earlier models had failed there.",
        f"- On real clips it is worst at {_worst(real)}.",
        "- It is not fit to decide anything about a person.",
    ]


def _worst(report: EvalReport, count: int = 4) -> str:
    shares = {joint: share for joint, share in report.scores.per_part["pck@0.2"].items() if share is not None}
    worst = sorted(shares, key=lambda joint: (shares[joint], joint))[:count]
    return ", ".join(f"{joint} ({shares[joint]:.2f})" for joint in worst) + " (PCK@0.2)"


def _licences(card: ModelCard) -> list[str]:
    scenes = ""
    if card.meta["generator_version"] >= PHOTOGRAPHS_SINCE:
        scenes = " before photographs in the public domain (CC0, `svf_edge/assets/backgrounds/NOTICE.md`)"
    return [
        "## Licences",
        "",
        "The model is Apache-2.0, like the project. It was trained on clips rendered from motion capture of pybullet "
        f"3.2.7 (zlib, `svf_edge/data/assets/NOTICE.md`){scenes}. The real clips are BSD-3-Clause, their pseudo-labels "
        "were made with mediapipe (Apache-2.0); see `svf_edge/assets/clips/README.md`. They were not trained on.",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def _bounded(name: str, score: Score) -> str:
    if score.low is None:
        return _plain(name, score.value)
    return f"{_plain(name, score.value)}<br>{_plain(name, score.low)} to {_plain(name, score.high)}"


def _plain(name: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.3f}" if name.startswith(("pck", "firing")) else f"{value:.1f}"
