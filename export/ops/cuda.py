"""The operators on a CUDA GPU: launchers of `libsvf_cuda.so` (svf_cuda.h), which is loaded when the first one runs.

Nothing here has run on a GPU yet (docs/cuda.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from svf_edge.errors import MissingLibrary, UnsupportedInput
from svf_edge.export.libraries import find_library
from svf_edge.export.ops import library
from svf_edge.export.ops.checks import Operator

_POINTER = ctypes.c_void_p
_CONV, _LIF, _ATTENTION = (
    ctypes.POINTER(kind) for kind in (library.Conv2dParams, library.LifParams, library.AttentionParams)
)
_STAGE = ctypes.POINTER(library.LifStage)
# Arguments as in svf_core.h without prepared weights and threads; a workspace may follow, and the stream does.
_LAUNCHERS: dict[str, tuple[type, ...]] = {
    "spike_conv2d": (_CONV, *[_POINTER] * 5),
    "spike_conv2d_lif": (_CONV, *[_POINTER] * 4, _STAGE),
    "conv2d": (_CONV, *[_POINTER] * 5),
    "conv2d_lif": (_CONV, *[_POINTER] * 4, _STAGE),
    "lif": (_LIF, *[_POINTER] * 5),
    "lif_from": (_LIF, *[_POINTER] * 7),
    "attention": (_ATTENTION, *[_POINTER] * 4),
    "attention_lif": (_ATTENTION, ctypes.c_int32, *[_POINTER] * 3, _STAGE),
    "causal_attention": (_ATTENTION, ctypes.c_int32, *[_POINTER] * 6, _STAGE),
    "channels_last": (*[ctypes.c_int64] * 3, *[_POINTER] * 2),
    "unpack_weights": (_POINTER, ctypes.c_int32, ctypes.c_int64, _POINTER),
}


@functools.cache
def _load(path: Path) -> ctypes.CDLL:
    try:
        found = ctypes.CDLL(str(path))
    except OSError as error:
        raise MissingLibrary(f"{path} could not be loaded ({error}); rebuild it on this machine") from error
    for name, arguments in _LAUNCHERS.items():
        workspace = [_POINTER] if _has_workspace(name) else []
        getattr(found, f"svf_cuda_{name}").argtypes = (*arguments, *workspace, _POINTER)
    found.svf_cuda_conv2d_workspace.argtypes = (_CONV, ctypes.c_int32, ctypes.c_int32)
    found.svf_cuda_attention_workspace.argtypes = (_ATTENTION, ctypes.c_int32)
    for name in ("conv2d_workspace", "attention_workspace"):
        getattr(found, f"svf_cuda_{name}").restype = ctypes.c_size_t
    for name in ("last_error", "kernels"):
        getattr(found, f"svf_cuda_{name}").restype = ctypes.c_char_p
    found.svf_cuda_set_kernels.argtypes = (ctypes.c_char_p,)
    return found


def launchers() -> ctypes.CDLL:
    """The loaded launchers. Raises `MissingLibrary`."""
    return _load(find_library("svf_cuda"))


def takes(device: torch.device) -> bool:
    """Whether tensors on `device` are for the launchers."""
    return device.type == "cuda"


def on_one_device(operator: Operator) -> Operator:
    """`operator` on the GPU that its tensors are on. Raises `ValueError` where they are not on the same."""

    def run(*arguments: object, **outs: Tensor) -> Tensor | tuple[Tensor, ...]:
        devices = {tensor.device for tensor in (*arguments, *outs.values()) if isinstance(tensor, Tensor)}
        if len(devices) > 1:
            named = ", ".join(sorted(map(str, devices)))
            raise ValueError(f"the tensors of one operator must be on one device, not on {named}")
        with torch.cuda.device(devices.pop()):
            return operator(*arguments, **outs)

    return run


def stream(device: torch.device) -> int:
    """Handle of torch's current stream."""
    return torch.cuda.current_stream(device).cuda_stream


def call(
    function: str, arguments: Sequence[ctypes.Structure | Tensor | int | None], device: torch.device
) -> tuple[int, str]:
    """Puts the operator `function` of svf_core.h on torch's stream; returns its status and, on failure, why."""
    found = launchers()
    name = function.removeprefix("svf_")
    given = [library.passed(argument) for argument in arguments]
    workspace: list[object] = []
    if _has_workspace(name):
        # torch hands this memory to later work of the same stream only.
        staged = isinstance(arguments[-1], library.LifStage)
        if "conv2d" in name:
            size = found.svf_cuda_conv2d_workspace(given[0], name.startswith("spike"), staged)
        else:
            size = found.svf_cuda_attention_workspace(given[0], staged)
        scratch = torch.empty(size, dtype=torch.uint8, device=device)
        workspace = [_POINTER(scratch.data_ptr())]
    status: int = getattr(found, f"svf_cuda_{name}")(*given, *workspace, stream(device))
    message: bytes = found.svf_cuda_last_error()
    return status, message.decode() if status else ""


def kernels() -> str:
    """The kernel set in use on the current GPU: simple, int8 or binary."""
    name: bytes = launchers().svf_cuda_kernels()
    return name.decode()


@contextlib.contextmanager
def force_kernels(name: str) -> Iterator[None]:
    """Run with one kernel set in this whole process. Raises `UnsupportedInput` when the GPU cannot run it."""
    if launchers().svf_cuda_set_kernels(name.encode()):
        message: bytes = launchers().svf_cuda_last_error()
        raise UnsupportedInput(message.decode())
    try:
        yield
    finally:
        launchers().svf_cuda_set_kernels(None)


def _has_workspace(name: str) -> bool:
    return "conv2d" in name or "attention" in name
