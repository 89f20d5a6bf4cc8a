"""Cost over the length of a clip and over the number of tokens: `mobile-s` with binary spikes at 10 % firing.

python -m benchmarks.scaling
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import amx
from benchmarks.float_twin import float_twin
from benchmarks.networks import Network, binary, published
from benchmarks.turns import RESULTS, Pace, Variant, check, conditions, onnx_variant, store, take_turns
from svf_edge.export.onnx import packed_model
from svf_edge.model.config import ModelConfig

RESULT = RESULTS / "scaling.json"
RATE = 0.1
FRAMES = (1, 2, 4, 8, 16, 32)
SIDE = 128
SIDES = (64, 96, 128, 160, 192, 224, 256)
STEPS = 4


def tokens(config: ModelConfig) -> int:
    """Tokens of a clip in joint attention."""
    height, width = config.feature_size
    return config.frames * height * width


def measure(networks: Mapping[int, Network], pace: Pace, label: str) -> dict[str, dict[str, list[list[float]]]]:
    """Samples by form and by the number that each network goes by."""
    variants: dict[str, Variant] = {}
    for number, network in networks.items():
        (expected,) = network.outputs.values()
        inputs = {network.program.frames.name: network.clips[0]}
        right = partial(np.array_equal, expected)
        variants[f"packed {number}"] = onnx_variant(
            packed_model(network.program, rates=network.rates), inputs, 1, ours=True, right=right
        )
        variants[f"fp32 {number}"] = onnx_variant(float_twin(network.program), inputs, 1)
    check(variants)
    samples = take_turns(variants, pace, label)
    return {form: {str(n): samples[f"{form} {n}"] for n in networks} for form in ("packed", "fp32")}


def main(turns: Annotated[int, typer.Option(min=2, help="Turns of every variant.")] = 5) -> None:
    """Measure and write the result file."""
    amx.deny()
    before = conditions("onnxruntime")
    pace = Pace(turns, runs=20, warm_up=2, seconds=0.3)
    clips = {frames: binary(frames, SIDE) for frames in FRAMES}
    areas = {tokens(config): config for config in (binary(STEPS, side) for side in SIDES)}
    result: dict[str, Any] = {"model": clips[STEPS].size, "rate": RATE, "side": SIDE, "steps": STEPS}
    for name, configs in (("frames", clips), ("tokens", areas)):
        networks = {number: published(config, RATE) for number, config in configs.items()}
        result[name] = measure(networks, pace, f"over {name}")
    store(RESULT, {**before, **result})


if __name__ == "__main__":
    typer.run(main)
