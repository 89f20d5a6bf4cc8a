"""Space-time designs: parameters of their attention, and cost over the length of a clip.

A small network of two transformer blocks behind plain down-sampling, so that attention is a good part of it, in every
form; binary spikes at 10 % firing. What a form costs follows from shapes and rates, not from what it has learnt.

python -m benchmarks.spacetime [--prepare]
"""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Any, get_args

import numpy as np
import typer

from benchmarks.networks import published
from benchmarks.turns import RESULTS, Pace, Variant, check, conditions, onnx_variant, store, take_turns
from svf_edge.export.onnx import packed_model
from svf_edge.model.blocks import space_time_attention
from svf_edge.model.config import ModelConfig, SpaceTime, parse_config
from svf_edge.model.layers import ConvNorm
from svf_edge.runtimes.energy.counts import count

RESULT = RESULTS / "spacetime.json"
RATE = 0.1
FRAMES = (1, 2, 4, 8, 16, 32)
SIDE = 128
WIDTH = 128
FORMS: tuple[SpaceTime, ...] = tuple(form for form in get_args(SpaceTime) if form != "none")
MODES = ("hamming", "dot")


def configuration(form: SpaceTime, mode: str, frames: int) -> ModelConfig:
    """The network that is measured; `causal` looks back over 8 frames."""
    return parse_config(
        {
            "size": f"spacetime-{form}-{mode}",
            "embed": (32, 64, WIDTH, WIDTH),
            "conv_blocks": (0, 0, 0),
            "transformer_blocks": (1, 1),
            "strides": (4, 4, 1, 1, 1),
            "heads": 4,
            "rep_conv": False,
            "mlp_ratio": 2,
            "attention": mode,
            "space_time": form,
            "window": 8,
            "frames": frames,
            "frame_size": (SIDE, SIDE),
            "head": {"kind": "classification", "classes": 10},
        }
    )


def projection_weights(config: ModelConfig, width: int) -> int:
    """Weights of the linear maps in one block's attention, from its very modules."""
    layers = [module for module in space_time_attention(config, width).modules() if isinstance(module, ConvNorm)]
    return sum(layer.conv.weight.numel() for layer in layers)


def main(
    turns: Annotated[int, typer.Option(min=2, help="Turns of every variant.")] = 3,
    prepare: Annotated[bool, typer.Option("--prepare", help="Only make the networks, which takes minutes.")] = False,
) -> None:
    """Measure and write the result file."""
    before = conditions("onnxruntime")
    variants: dict[str, Variant] = {}
    rows: list[dict[str, Any]] = []
    for form in FORMS:
        for mode in MODES:
            macs = {}
            for frames in FRAMES:
                config = configuration(form, mode, frames)
                network = published(config, RATE)
                program = network.program
                sizes = {lif.name: int(np.prod(program.types[lif.name].shape)) for lif in program.lifs}
                counts = count(program, {name: round(network.rates[name] * size) for name, size in sizes.items()})
                macs[str(frames)] = counts.of_kind("attention")
                if not prepare:
                    (expected,) = network.outputs.values()
                    variants[f"{form} {mode} {frames}"] = onnx_variant(
                        packed_model(program, rates=network.rates),
                        {program.frames.name: network.clips[0]},
                        1,
                        ours=True,
                        right=partial(np.array_equal, expected),
                    )
            weights = projection_weights(configuration(form, mode, 1), WIDTH)
            rows.append({"form": form, "mode": mode, "weights": weights, "attention_macs": macs})
    if prepare:
        return
    check(variants)
    samples = take_turns(
        variants, Pace(turns, runs=10, warm_up=2, seconds=0.4), "forms over frames", time.process_time_ns
    )
    for row in rows:
        row["samples_ms"] = {str(frames): samples[f"{row['form']} {row['mode']} {frames}"] for frames in FRAMES}
    shape = {"rate": RATE, "side": SIDE, "width": WIDTH}
    store(RESULT, {**before, **shape, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
