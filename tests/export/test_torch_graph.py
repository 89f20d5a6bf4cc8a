"""Torch modules of a program against the reference interpreter: eager and through torch.export."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from svf_edge.errors import RangeError, UnsupportedInput
from svf_edge.export.torch_graph import TorchDialect, build_module
from svf_edge.packing import pack_spikes
from svf_edge.program import Conv, Frames, Lif, Output, Program, run
from tests.programs import assert_not_silent, far_sighted_program, noise_clip, program_of_many_levels, random_program

CASES: dict[str, dict[str, Any]] = {
    "hamming-joint": {},
    "dot-temporal-soft": {"mode": "dot", "scope": "temporal", "reset": "soft", "steps": 5},
    "hamming-temporal": {"scope": "temporal", "steps": 3},
    "hamming-spatial-soft": {"scope": "spatial", "reset": "soft"},
    "one-step": {"steps": 1},
    "head-width-45": {"channels": 90, "heads": 2},
    "words-full": {"channels": 64, "heads": 8, "size": (16, 16)},
    "event-counts": {"zero_point": 0},
    "two-levels-hard": {"levels": 2},
    "three-levels-soft-dot": {"levels": 3, "reset": "soft", "mode": "dot", "scope": "temporal", "steps": 3},
    "sum-over-space": {"pool_shift": 2, "steps": 3},
    "four-levels-spatial": {"levels": 4, "scope": "spatial"},
    "causal": {"scope": "causal", "window": 3, "steps": 5, "levels": 2},
    "causal-dot-soft": {"mode": "dot", "scope": "causal", "window": 2, "steps": 4, "reset": "soft"},
}


def expected(program: Program, clip: NDArray[np.uint8], dialect: TorchDialect) -> list[NDArray[Any]]:
    """Outputs and taps by the reference interpreter, in the order and form of `build_module`."""
    trace = run(program, clip)
    assert_not_silent(trace.spikes)
    taps = [trace.spikes[lif.name] for lif in program.lifs]
    if dialect == "packed":
        taps = [pack_spikes(spikes, lif.levels) for spikes, lif in zip(taps, program.lifs, strict=True)]
    else:
        taps = [spikes.astype(np.float32) for spikes in taps]
    return [*(trace.outputs[output.name] for output in program.outputs), *taps]


def assert_same(found: list[NDArray[Any]], wanted: list[NDArray[Any]]) -> None:
    """Same number, dtypes, shapes and values."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other, strict=True)


def arrays(tensors: tuple[torch.Tensor, ...]) -> list[NDArray[Any]]:
    return [tensor.numpy() for tensor in tensors]


@pytest.mark.parametrize("options", [pytest.param(options, id=name) for name, options in CASES.items()])
@pytest.mark.parametrize("dialect", ["packed", "portable"])
def test_module_equals_reference(dialect: TorchDialect, options: dict[str, Any]) -> None:
    program = random_program(seed=3, **options)
    clip = noise_clip(program, seed=5)
    with torch.no_grad():
        found = build_module(program, dialect, taps=True)(torch.from_numpy(clip))
    assert_same(arrays(found), expected(program, clip, dialect))


@pytest.mark.parametrize("clip", ["black", "white", "hot pixel"])
@pytest.mark.parametrize("dialect", ["packed", "portable"])
def test_extreme_frames(dialect: TorchDialect, clip: str) -> None:
    program = random_program(seed=4)
    frames = np.full(program.frames.shape, 255 if clip == "white" else 0, np.uint8)
    if clip == "hot pixel":
        frames[0, :, 3, 4] = 255
    with torch.no_grad():
        found = build_module(program, dialect)(torch.from_numpy(frames))
    np.testing.assert_array_equal(found[0].numpy(), run(program, frames).outputs["logits"], strict=True)


@pytest.mark.parametrize(("dialect", "levels"), [("packed", 1), ("packed", 3), ("portable", 1)])
def test_torch_export_keeps_every_bit(dialect: TorchDialect, levels: int) -> None:
    program = random_program(seed=6, steps=3, scope="spatial", levels=levels)
    clip = noise_clip(program, seed=7)
    module = build_module(program, dialect, taps=True)
    with torch.no_grad():
        exported = torch.export.export(module, (torch.zeros(program.frames.shape, dtype=torch.uint8),)).module()
        assert_same(arrays(exported(torch.from_numpy(clip))), expected(program, clip, dialect))


def test_without_taps_only_outputs() -> None:
    program = random_program()
    assert len(build_module(program, "portable")(torch.from_numpy(noise_clip(program)))) == 1


def test_packed_refuses_more_levels_than_its_operators_take() -> None:
    with pytest.raises(UnsupportedInput, match=r"'sep\.lif1' is an integer LIF with 16 levels.*portable"):
        build_module(program_of_many_levels(), "packed")


def test_packed_refuses_causal_attention_that_more_than_a_lif_reads() -> None:
    program = far_sighted_program(steps=3, window=2)
    program = replace(program, outputs=(*program.outputs, Output("raw", "attn")))
    with pytest.raises(UnsupportedInput, match=r"'attn': its result has other readers than one LIF.*portable"):
        build_module(program, "packed")
    assert build_module(program, "portable")(torch.from_numpy(noise_clip(program)))[1].unique().numel() > 2


def wide(fan_in: int, gain: int) -> Program:
    """One convolution whose accumulator bound is 127 * 128 * `fan_in` and a LIF that multiplies it by `gain`."""
    weight = np.full((1, fan_in, 1, 1), 127, np.int8)
    one, zero = np.ones(1, np.int32), np.zeros(1, np.int32)
    conv = Conv("wide", "frames", weight, zero, zero, 0)
    lif = Lif("lif", "wide", one * gain, zero, one)
    return Program(Frames((1, fan_in, 1, 1)), (conv, lif), (Output("y", "wide"),))


def test_range_proof_comes_first() -> None:
    portable = r"layer 'wide': accumulator.* can reach 17\d{6}, the float32 carrier is exact only to 16777216"
    with pytest.raises(RangeError, match=portable):
        build_module(replace(wide(1100, 1), nodes=wide(1100, 1).nodes[:1]), "portable")
    with pytest.raises(RangeError, match=r"layer 'lif': membrane sum can reach \d+, the int32 carrier"):
        build_module(wide(1100, 1000), "packed")
