"""The ExecuTorch library against the torch operators: one tiny exported program per operator."""

from __future__ import annotations

import ctypes

import pytest
import torch
from torch import nn

from svf_edge.export import ops
from tests.native.examples import VARIANTS, Attribute, call, example

pytest.importorskip("executorch", reason="needs executorch")


class OneOperator(nn.Module):
    """Calls one operator with fixed attributes."""

    def __init__(self, name: str, attributes: dict[str, Attribute]) -> None:
        super().__init__()
        self.name, self.attributes = name, attributes

    def forward(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        return call(self.name, list(inputs), self.attributes)


def program(name: str, inputs: list[torch.Tensor], attributes: dict[str, Attribute]) -> bytes:
    from executorch.exir import EdgeCompileConfig, to_edge

    exported = torch.export.export(OneOperator(name, attributes), tuple(inputs))
    edge = to_edge(exported, compile_config=EdgeCompileConfig(_check_ir_validity=False))
    return bytes(edge.to_executorch().buffer)


@pytest.mark.parametrize(("name", "levels", "residual"), VARIANTS)
def test_same_integers_as_torch(name: str, levels: int, residual: bool) -> None:
    from executorch.runtime import Runtime

    ctypes.CDLL(str(ops.find_library("svf_executorch")))
    for signed in (False, True) if name.startswith("conv2d") else (False,):
        inputs, attributes = example(name, signed, levels, residual)
        buffer = program(name, inputs, attributes)
        loaded = Runtime.get().load_program(buffer)  # a method does not keep its program alive
        method = loaded.load_method("forward")
        for isa in ops.available_isas():
            with ops.force_isa(isa):
                expected = call(name, inputs, attributes)
                results = method.execute(inputs)
            for result, wanted in zip(results, expected, strict=True):
                assert result.dtype == wanted.dtype
                assert torch.equal(result, wanted), isa
            assert expected[0].unique().numel() > 2


def test_an_attribute_beyond_32_bits_is_refused() -> None:
    """The integer that 32 bits would keep of it is the right one, so wrapping would go unnoticed."""
    from executorch.runtime import Runtime

    ctypes.CDLL(str(ops.find_library("svf_executorch")))
    inputs, attributes = example("conv2d")
    attributes["zero_point"] = 2**32 + 128
    loaded = Runtime.get().load_program(program("conv2d", inputs, attributes))
    with pytest.raises(RuntimeError, match="0x12"):
        loaded.load_method("forward").execute(inputs)
