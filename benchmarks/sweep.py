"""The 15M size over firing rates: what a spike costs.

    python -m benchmarks.sweep

The packed network at every rate, beside ONNX Runtime's float32 and int8 forms of it, whose time does not depend on the
rate: they are taken at one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import amx
from benchmarks.end_to_end import CALIBRATION
from benchmarks.float_twin import float_twin
from benchmarks.int8_twin import int8_twin
from benchmarks.networks import Network, size_15m
from benchmarks.turns import RESULTS, Pace, check, conditions, onnx_variant, store, take_turns
from svf_edge.export.onnx import packed_model

RESULT = RESULTS / "sweep.json"
RATES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


def measure(networks: Mapping[float, Network], pace: Pace) -> dict[str, Any]:
    """Samples of the packed network at every rate and of the alternatives at the lowest."""
    variants = {}
    for rate, network in networks.items():
        (expected,) = network.outputs.values()
        inputs = {network.program.frames.name: network.clips[0]}
        right = partial(np.array_equal, expected)
        variants[f"{100 * rate:g}"] = onnx_variant(
            packed_model(network.program, rates=network.rates), inputs, 1, ours=True, right=right
        )
    network = networks[min(networks)]
    inputs = {network.program.frames.name: network.clips[0]}
    twin = float_twin(network.program)
    variants["fp32"] = onnx_variant(twin, inputs, 1)
    variants["int8 QDQ"] = onnx_variant(int8_twin(twin, network.clips[:CALIBRATION]), inputs, 1)
    check(variants)
    return {
        "model": network.name,
        "frames": list(network.program.frames.shape),
        "spikes_per_neuron": {f"{100 * rate:g}": network.spikes_per_neuron for rate, network in networks.items()},
        "samples_ms": take_turns(variants, pace, f"{network.name} over firing rates"),
    }


def main(turns: Annotated[int, typer.Option(min=2, help="Turns of every variant.")] = 4) -> None:
    """Measure and write the result file."""
    amx.deny()
    before = conditions("onnxruntime")
    store(RESULT, {**before, **measure({rate: size_15m(rate) for rate in RATES}, Pace(turns, runs=6, warm_up=2))})


if __name__ == "__main__":
    typer.run(main)
