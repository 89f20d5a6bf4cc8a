"""Every runtime variant, in the order tables show them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from svf_edge.errors import UnsupportedInput
from svf_edge.runtimes.base import Runtime
from svf_edge.runtimes.executorch_harness import ExecuTorch
from svf_edge.runtimes.onnxruntime import OnnxRuntime
from svf_edge.runtimes.reference import ReferenceRuntime
from svf_edge.runtimes.tensorrt import TensorRT
from svf_edge.runtimes.torch_cuda import TorchCuda

_ALL: tuple[Runtime, ...] = (
    ReferenceRuntime(),
    OnnxRuntime("onnxruntime packed", "packed", library=True),
    OnnxRuntime("onnxruntime packed, no library", "packed", library=False),
    OnnxRuntime("onnxruntime portable", "portable", library=False),
    ExecuTorch("packed"),
    ExecuTorch("portable"),
    TorchCuda(),
    TensorRT(),
)
RUNTIMES = {runtime.name: runtime for runtime in _ALL}


def find_runtime(name: str) -> Runtime:
    """The runtime called `name`. Raises `UnsupportedInput` with the closest name."""
    if name in RUNTIMES:
        return RUNTIMES[name]
    close = get_close_matches(name, RUNTIMES, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known runtimes: {'; '.join(RUNTIMES)}"
    raise UnsupportedInput(f"no runtime is called '{name}'; {hint}")


def find_runtimes(names: Sequence[str] | None) -> tuple[Runtime, ...]:
    """The runtimes of those names, or all of them."""
    return tuple(map(find_runtime, names)) if names else _ALL
