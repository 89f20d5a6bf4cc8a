"""A whole network on a clip: our packed operators against the alternatives, all in one process.

    python -m benchmarks.end_to_end shipped|mobile|10|20 [--amx]

`shipped` is the shipped network and `mobile` its size with binary spikes at 10 % firing; 10 and 20 are the published
15M size at 224 x 224 that fires at so many percent. Edge devices have no AMX, so it is denied to all; with `--amx` it
is not, and only what it matters to is measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from benchmarks import amx
from benchmarks.float_twin import float_twin
from benchmarks.int8_twin import int8_twin
from benchmarks.networks import Network, shipped, shipped_size, size_15m
from benchmarks.torch_twin import TorchTwin
from benchmarks.turns import RESULTS, Judge, Pace, Run, Variant, check, conditions, onnx_variant, store, take_turns
from benchmarks.xnnpack_twin import xnnpack_twin
from svf_edge.export.executorch import export_executorch
from svf_edge.export.onnx import packed_model, portable_model
from svf_edge.files import sha256
from svf_edge.shipped import CLIP

CACHE = Path("out/benchmarks/graphs")
CALIBRATION = 4
"""Clips that the int8 tool chains calibrate on."""

Choice = Literal["shipped", "mobile", "10", "20"]
Extra = Literal["xnnpack", "compiled"]
EXTRA: Mapping[Choice, tuple[Extra, ...]] = {
    "shipped": ("xnnpack", "compiled"),
    "mobile": ("xnnpack",),
    "10": ("xnnpack",),
    "20": (),
}
"""Alternatives of the 15M size do not depend on its firing rate, so that the slow ones are taken at one."""
NAMES: Mapping[Choice, str] = {
    "shipped": "end_to_end",
    "mobile": "mobile_10",
    "10": "published_10",
    "20": "published_20",
}
"""Of the result files."""
AMX = ("fp32", "int8 QDQ", "packed")
"""What is measured with matrix tiles: ONNX Runtime uses them."""


def variants(network: Network, threads: int, extra: Collection[Extra] = ()) -> dict[str, Variant]:
    """Ways of running `network` on its first clip; `extra` ones take minutes of preparation."""
    program, clips = network.program, network.clips[:CALIBRATION]
    inputs = {program.frames.name: clips[0]}
    twin = float_twin(program)
    (expected,) = network.outputs.values()
    right = partial(np.array_equal, expected)
    found = {
        "fp32": onnx_variant(twin, inputs, threads),
        "int8 QDQ": onnx_variant(int8_twin(twin, clips), inputs, threads),
        "portable": onnx_variant(portable_model(program), inputs, threads, right=right),
        "packed": onnx_variant(packed_model(program, rates=network.rates), inputs, threads, ours=True, right=right),
        "packed, ExecuTorch": _executorch(network, "packed", threads, right),
    }
    if "xnnpack" in extra:
        found["XNNPACK fp32"] = _executorch(network, "float", threads)
        found["XNNPACK int8"] = _executorch(network, "int8", threads)
    if "compiled" in extra:
        found["torch compiled"] = _compiled(network, threads)
    return found


def _executorch(
    network: Network, form: Literal["float", "int8", "packed"], threads: int, right: Judge | None = None
) -> Variant:
    """A `.pte` of `network` in ExecuTorch."""
    from svf_edge.runtimes.executorch import ExecuTorchSession

    if form == "packed":  # exported anew: it is quick, and changes with the exporter
        path = CACHE / f"packed-{threads}.pte"
        export_executorch(network.program, "packed", path, rates=network.rates)
    else:
        path = xnnpack_program(network, form)

    @contextmanager
    def opened() -> Iterator[Run]:
        with ExecuTorchSession(path, threads=threads) as session:
            yield lambda: session.run(network.clips[0])[0]

    return Variant(opened, right)


def xnnpack_program(network: Network, form: Literal["float", "int8"]) -> Path:
    """The alternative on XNNPACK, exported once and kept: the tool chain takes minutes for large graphs."""
    path = CACHE / f"{_digest(network)}-{form}.pte"
    if not path.is_file():
        xnnpack_twin(network.program, network.clips[:CALIBRATION], path, "none" if form == "float" else "convolutions")
    return path


def _compiled(network: Network, threads: int) -> Variant:
    """The float network through torch's compiler (inductor), which needs a C++ compiler."""
    import torch

    twin = TorchTwin(network.program).eval()
    twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module = torch.compile(twin)
    frames = torch.from_numpy(network.clips[0])

    @contextmanager
    def opened() -> Iterator[Run]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        try:
            with torch.inference_mode():
                yield lambda: module(frames).numpy()
        finally:
            torch.set_num_threads(before)

    return Variant(opened)


def _digest(network: Network) -> str:
    """Of the network and of what makes alternatives from it."""
    sources = [Path(__file__).with_name(f"{name}.py") for name in ("float_network", "torch_twin", "xnnpack_twin")]
    made = [hashlib.sha256(float_twin(network.program).SerializeToString()).hexdigest(), *map(sha256, sources)]
    return hashlib.sha256("".join(made).encode()).hexdigest()[:16]


def measure(
    network: Network,
    threads: Sequence[int],
    pace: Pace,
    extra: Collection[Extra] = (),
    only: Collection[str] | None = None,
) -> dict[str, Any]:
    """One case a number of threads, of all variants or some. Raises `SystemExit` when an exact one is not."""
    cases = []
    for count in threads:
        found = variants(network, count, extra)
        chosen = {name: variant for name, variant in found.items() if only is None or name in only}
        check(chosen)
        samples = take_turns(chosen, pace, f"{network.name}, {count} thread{'s' if count > 1 else ''}")
        cases.append({"threads": count, "samples_ms": samples})
    return {
        "model": network.name,
        "frames": list(network.program.frames.shape),
        "spikes_per_neuron": network.spikes_per_neuron,
        "clip": CLIP.name,
        "cases": cases,
    }


def network_of(which: Choice) -> Network:
    """The network that `which` stands for."""
    if which == "shipped":
        return shipped()
    return shipped_size(0.1) if which == "mobile" else size_15m(int(which) / 100)


def run(which: Choice, output: Path, turns: int, tiles: bool = False) -> None:
    """Measure `which` network and write the result file; `tiles`: what AMX matters to, with it."""
    if not tiles:
        amx.deny()
    before = conditions("onnxruntime", "executorch", "torch")
    pace = Pace(turns) if which in ("shipped", "mobile") else Pace(max(turns // 2, 2), runs=8, warm_up=2)
    if tiles:
        result = measure(network_of(which), (1, 2), pace, only=AMX)
    else:
        result = measure(network_of(which), (1, 2), pace, EXTRA[which])
    store(output, {**before, **result})
    for case in result["cases"]:
        medians = {name: float(np.median(np.concatenate(turns))) for name, turns in case["samples_ms"].items()}
        print(case["threads"], {name: f"{value:.2f} ms" for name, value in medians.items()})


def main(
    which: Annotated[
        Choice,
        typer.Argument(help="The shipped network, its size with binary spikes, or the 15M size at 10 or 20 percent."),
    ],
    turns: Annotated[int, typer.Option(min=2, help="Turns of every variant.")] = 8,
    tiles: Annotated[bool, typer.Option("--amx", help="Allow AMX, and measure what it matters to.")] = False,
) -> None:
    """Measure and write the result file. Example: python -m benchmarks.end_to_end shipped --turns 20"""
    run(which, RESULTS / f"{NAMES[which]}{'_amx' if tiles else ''}.json", turns, tiles)


if __name__ == "__main__":
    typer.run(main)
