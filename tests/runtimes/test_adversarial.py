"""Zero differing spikes on every runtime, for shapes, lengths, models and inputs chosen to break packing and ranges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from svf_edge.export.bundle import Bundle
from svf_edge.export.onnx import export_onnx
from svf_edge.export.torch_graph import TorchDialect
from svf_edge.model.config import ModelConfig, parse_config
from svf_edge.program import Conv, run, save_program
from svf_edge.program.freeze import freeze
from svf_edge.runtimes.clips import GENERATORS
from tests.models import quantised_model, random_clips
from tests.programs import assert_not_silent, noise_clip, random_program
from tests.runtimes.bundles import assert_on_executorch, assert_on_onnxruntime, needs_library

pytestmark = [needs_library("svf_ort"), needs_library("svf_executorch")]

# One block of each kind, widths and a frame size that leave every word and vector partly empty.
ODD: dict[str, Any] = {
    "embed": (12, 20, 36, 40),
    "conv_blocks": (1, 0, 0),
    "transformer_blocks": (1, 0),
    "heads": 4,
    "conv_ratio": 2,
    "mlp_ratio": 2,
    "head": {"kind": "pose", "joints": 3, "bins": 10, "maps": 2},
    "frame_size": (33, 47),
}


def assert_parity(config: ModelConfig, folder: Path, weight_bits: dict[str, int] | None = None) -> Bundle:
    """Export `config` with random weights (a tenth of the BatchNorm gains negative) and compare on ONNX Runtime."""
    program = freeze(quantised_model(config, weight_bits=weight_bits))
    shape = program.frames.shape
    clips = {"natural": random_clips(config, 1, 5)[0].numpy()}
    assert_not_silent(run(program, clips["natural"]).spikes)
    clips |= {name: generate(shape) for name, generate in GENERATORS.items()}
    return assert_on_onnxruntime(program, clips, folder / "bundle")


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_clip_lengths(frames: int, tmp_path: Path) -> None:
    """Portable on ExecuTorch only of one frame: it unrolls time, which makes exporting slow."""
    config = parse_config({**ODD, "frames": frames})
    program = assert_parity(config, tmp_path).program()
    clip = random_clips(config, 1, 5)[0].numpy()
    for dialect in get_args(TorchDialect)[: 1 + (frames == 1)]:
        assert_on_executorch(program, clip, dialect, tmp_path)


@pytest.mark.parametrize("space_time", ["spatial", "factorised", "hierarchical"])
@pytest.mark.parametrize("attention", ["hamming", "dot"])
def test_space_time_forms(space_time: str, attention: str, tmp_path: Path) -> None:
    # Enough tokens for every neuron behind an unnormalised dot product to fire: a silent one makes its layer's weights
    # explode when BatchNorm is folded, and the range proof refuses them.
    size = {"frames": 6, "strides": (2, 2, 2, 1, 1)}
    config = parse_config({**ODD, **size, "space_time": space_time, "attention": attention, "reset": "soft"})
    assert_parity(config, tmp_path)


@pytest.mark.parametrize("dialect", get_args(TorchDialect))
def test_spikes_on_executorch(dialect: TorchDialect, tmp_path: Path) -> None:
    config = parse_config({**ODD, "frames": 2, "space_time": "factorised"})
    clip = random_clips(config, 1, 5)[0].numpy()
    assert_on_executorch(freeze(quantised_model(config)), clip, dialect, tmp_path)


HEADS: dict[str, dict[str, Any]] = {
    "segmentation": {"classes": 3, "cell": 3, "width": 20},
    "classification": {"classes": 9},
    "pose3d": {"joints": 3, "bins": 10, "maps": 2},
}


def integer_config(kind: str) -> ModelConfig:
    """A head on integer LIFs; its map is not square."""
    options = {"frames": 2, "conv_blocks": (0, 0, 0), "levels": 3, "norm_gain": 4, "reset": "soft"}
    return parse_config({**ODD, **options, "head": {"kind": kind, **HEADS[kind]}})


@pytest.mark.parametrize("kind", HEADS)
def test_heads(kind: str, tmp_path: Path) -> None:
    """Outputs are compared as they travel with the bundle, maps too."""
    config = integer_config(kind)
    bundle = assert_parity(config, tmp_path)
    (output,) = bundle.manifest.outputs
    size = config.feature_size if kind == "segmentation" else (1, 1)
    assert output.shape == (2, config.head.scores, *size)
    frames, scores = bundle.golden("natural")
    np.testing.assert_array_equal(scores[output.name], run(bundle.program(), frames).outputs[output.name])


def test_head_width_45_on_every_runtime(tmp_path: Path) -> None:
    config = parse_config({**ODD, "embed": (8, 16, 90, 90), "heads": None, "head_width": 45, "frames": 2})
    program = assert_parity(config, tmp_path).program()
    for dialect in get_args(TorchDialect):
        assert_on_executorch(program, random_clips(config, 1, 5)[0].numpy(), dialect, tmp_path)


@pytest.mark.parametrize(
    "options",
    [{"levels": 3, "reset": "soft", "space_time": "factorised"}, {"levels": 4, "attention": "dot"}],
    ids=["3, soft reset, factorised", "4, hard reset, dot"],
)
def test_integer_lif(options: dict[str, Any], tmp_path: Path) -> None:
    config = parse_config({**ODD, "frames": 2, "conv_blocks": (0, 0, 0), **options})
    bundle = assert_parity(config, tmp_path)
    clip = random_clips(config, 1, 5)[0].numpy()
    assert_levels_occur(run(bundle.program(), clip).spikes.values(), config.levels)


def test_integer_lif_on_every_runtime(tmp_path: Path) -> None:
    """A program smaller than any model."""
    program = random_program(levels=3, reset="soft", channels=24, heads=3)
    clips = {"noise": noise_clip(program)}
    assert_levels_occur(run(program, clips["noise"]).spikes.values(), 3)
    assert_on_onnxruntime(program, clips, tmp_path / "bundle")
    for dialect in get_args(TorchDialect):
        assert_on_executorch(program, clips["noise"], dialect, tmp_path)


def assert_levels_occur(spikes: Iterable[NDArray[np.int32]], levels: int) -> None:
    """Every number of spikes 0..levels occurs, or planes above the highest were never compared."""
    counts = sum(np.bincount(values.ravel(), minlength=levels + 1) for values in spikes)
    assert np.all(counts), f"some level never occurs: {counts}"


def test_a_token_count_beyond_one_word_block(tmp_path: Path) -> None:
    """Some hundred tokens, not a multiple of 32, in one joint group."""
    config = parse_config({**ODD, "frames": 5, "strides": (2, 2, 2, 1, 1), "frame_size": (41, 50)})
    height, width = config.feature_size
    assert 5 * height * width > 128 and np.mod(5 * height * width, 32)
    assert_parity(config, tmp_path)


def test_weights_of_4_and_2_bits(tmp_path: Path) -> None:
    """Packed in the files that can hold them so, and the same bits from every runtime."""
    config = parse_config({**ODD, "frames": 2, "conv_blocks": (0, 0, 0)})
    bits = {"backbone.0.*": 8, "*.mlp.*": 2, "*": 4}
    bundle = assert_parity(config, tmp_path / "bundle", bits)
    program = bundle.program()
    nodes = [node for node in program.nodes if isinstance(node, Conv)]
    assert {2, 4, 8} == {node.weight_bits for node in nodes}
    clip = random_clips(config, 1, 5)[0].numpy()
    assert_on_executorch(program, clip, "packed", tmp_path)
    wide = replace(program, nodes=tuple(replace(n, weight_bits=8) if n in nodes else n for n in program.nodes))
    saved = sum(node.weight.size * (8 - node.weight_bits) // 8 for node in nodes)
    assert saved > 10_000
    save_program(wide, tmp_path / "wide.safetensors")
    export_onnx(wide, "packed", tmp_path / "wide.onnx")
    for name in ("program.safetensors", "onnx/packed.onnx"):
        larger = tmp_path / f"wide{Path(name).suffix}"
        assert larger.stat().st_size - bundle.path(name).stat().st_size > 0.5 * saved, name
