"""A whole network on a clip: our packed operators against the alternatives, all in one process.

    python -m benchmarks.end_to_end shipped|10|20

`shipped` is the shipped network; 10 and 20 are the published 15M size at 224 x 224 that fires at so many percent.
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

from benchmarks.float_twin import float_twin
from benchmarks.int8_twin import int8_twin
from benchmarks.networks import Network, shipped, size_15m
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

Choice = Literal["shipped", "10", "20"]
Extra = Literal["xnnpack", "compiled"]
EXTRA: Mapping[Choice, tuple[Extra, ...]] = {"shipped": ("xnnpack", "compiled"), "10": ("xnnpack",), "20": ()}
"""Alternatives of the 15M size do not depend on its firing rate, so that the slow ones are taken at one."""


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


def measure(network: Network, threads: Sequence[int], pace: Pace, extra: Collection[Extra] = ()) -> dict[str, Any]:
    """One case a number of threads. Raises `SystemExit` when an exact variant is not."""
    cases = []
    for count in threads:
        chosen = variants(network, count, extra)
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


def run(which: Choice, output: Path, turns: int) -> None:
    """Measure `which` network and write the result file."""
    before = conditions("onnxruntime", "executorch", "torch")
    if which == "shipped":
        result = measure(shipped(), (1, 2), Pace(turns), EXTRA[which])
    else:
        network = size_15m(int(which) / 100)
        result = measure(network, (1, 2), Pace(max(turns // 2, 2), runs=8, warm_up=2), EXTRA[which])
    store(output, {**before, **result})
    for case in result["cases"]:
        medians = {name: float(np.median(np.concatenate(turns))) for name, turns in case["samples_ms"].items()}
        print(case["threads"], {name: f"{value:.2f} ms" for name, value in medians.items()})


def main(
    which: Annotated[Choice, typer.Argument(help="The shipped network, or the 15M size firing at 10 or 20 percent.")],
    turns: Annotated[int, typer.Option(min=2, help="Turns of every variant.")] = 8,
) -> None:
    """Measure and write the result file. Example: python -m benchmarks.end_to_end shipped --turns 20"""
    run(which, RESULTS / f"{result_name(which)}.json", turns)


def result_name(which: Choice) -> str:
    """Name of the result file."""
    return "end_to_end" if which == "shipped" else f"published_{which}"


if __name__ == "__main__":
    typer.run(main)
