"""Loads the native core, and chooses its kernel set (instruction set)."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from svf_edge.errors import MissingLibrary, UnsupportedInput
from svf_edge.export.libraries import find_library


class _Params(ctypes.Structure):
    """Parameters of an operator. Raises `ValueError` for a number beyond int32, which ctypes would wrap."""

    def __init__(self, **fields: int | tuple[int, ...]) -> None:
        for name, value in fields.items():
            for number in value if isinstance(value, tuple) else (value,):
                if not -(2**31) <= number < 2**31:
                    raise ValueError(f"{name} {number} does not fit in 32 bits")
        super().__init__(**fields)


class Conv2dParams(_Params):
    """`svf_conv2d_params` of svf_core.h."""

    _fields_ = [
        ("frames", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("in_channels", ctypes.c_int32),
        ("out_channels", ctypes.c_int32),
        ("kernel", ctypes.c_int32 * 2),
        ("stride", ctypes.c_int32 * 2),
        ("padding", ctypes.c_int32 * 2),
        ("groups", ctypes.c_int32),
        ("output_type", ctypes.c_int32),
        ("input_type", ctypes.c_int32),
        ("zero_point", ctypes.c_int32),
        ("levels", ctypes.c_int32),
        ("density", ctypes.c_int32),
    ]


class LifParams(_Params):
    """`svf_lif_params` of svf_core.h."""

    _fields_ = [(name, ctypes.c_int32) for name in ("frames", "positions", "channels", "soft_reset", "levels")]


class AttentionParams(_Params):
    """`svf_attention_params` of svf_core.h."""

    _fields_ = [(name, ctypes.c_int32) for name in ("groups", "tokens", "channels", "heads", "kind", "levels")]


class LifStage(ctypes.Structure):
    """`svf_lif_stage` of svf_core.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("gain", "bias", "theta", "residual", "sum", "spikes")),
        ("soft_reset", ctypes.c_int32),
        ("levels", ctypes.c_int32),
        ("before", ctypes.c_void_p),
        ("after", ctypes.c_void_p),
    ]


def passed(argument: ctypes.Structure | Tensor | int | None) -> object:
    """An argument as ctypes takes it: structs and tensors by their address."""
    match argument:
        case ctypes.Structure():
            return ctypes.byref(argument)
        case Tensor():
            return ctypes.c_void_p(argument.data_ptr())
        case _:
            return argument


@functools.cache
def _load(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise MissingLibrary(f"{path} could not be loaded ({error}); rebuild it on this machine") from error
    pointer = ctypes.c_void_p
    signatures = {
        "svf_prepare_weights": (ctypes.POINTER(Conv2dParams), ctypes.c_int32, pointer, ctypes.POINTER(pointer)),
        "svf_spike_conv2d": (ctypes.POINTER(Conv2dParams), *[pointer] * 7),
        "svf_conv2d": (ctypes.POINTER(Conv2dParams), *[pointer] * 7),
        "svf_spike_conv2d_lif": (ctypes.POINTER(Conv2dParams), *[pointer] * 5, ctypes.POINTER(LifStage), pointer),
        "svf_conv2d_lif": (ctypes.POINTER(Conv2dParams), *[pointer] * 5, ctypes.POINTER(LifStage), pointer),
        "svf_lif": (ctypes.POINTER(LifParams), *[pointer] * 6),
        "svf_lif_from": (ctypes.POINTER(LifParams), *[pointer] * 8),
        "svf_attention": (ctypes.POINTER(AttentionParams), *[pointer] * 5),
        "svf_attention_lif": (
            ctypes.POINTER(AttentionParams),
            ctypes.c_int32,
            *[pointer] * 3,
            ctypes.POINTER(LifStage),
            pointer,
        ),
        "svf_causal_attention": (
            ctypes.POINTER(AttentionParams),
            ctypes.c_int32,
            *[pointer] * 6,
            ctypes.POINTER(LifStage),
            pointer,
        ),
        "svf_channels_last": (*[ctypes.c_int64] * 3, *[pointer] * 3),
        "svf_unpack_weights": (pointer, ctypes.c_int32, ctypes.c_int64, pointer),
        "svf_set_isa": (ctypes.c_char_p,),
    }
    for function, arguments in signatures.items():
        getattr(library, function).argtypes = arguments
        getattr(library, function).restype = ctypes.c_int
    library.svf_release_weights.argtypes = (pointer,)
    library.svf_release_weights.restype = None
    library.svf_scratch_peak.argtypes = ()
    library.svf_scratch_peak.restype = ctypes.c_size_t
    library.svf_reset_scratch_peak.argtypes = ()
    library.svf_reset_scratch_peak.restype = None
    for function in ("svf_last_error", "svf_available_isas", "svf_isa"):
        getattr(library, function).argtypes = ()
        getattr(library, function).restype = ctypes.c_char_p
    return library


def core() -> ctypes.CDLL:
    """The loaded kernel library, `libsvf_core.so`. Raises `MissingLibrary`."""
    return _load(find_library("svf_core"))


def last_error() -> str:
    """The sentence of the last operator that failed on this thread."""
    message: bytes = core().svf_last_error()
    return message.decode()


def available_isas() -> list[str]:
    """Kernel sets that this machine can run, slowest first; `"reference"` is always the first."""
    names: bytes = core().svf_available_isas()
    return names.decode().split()


def current_isa() -> str:
    """The kernel set in use."""
    name: bytes = core().svf_isa()
    return name.decode()


@contextlib.contextmanager
def force_isa(name: str) -> Iterator[None]:
    """Run with one kernel set, in this whole process (all shims share the core), and restore the former one.

    Raises `UnsupportedInput` when this machine cannot run it.
    """
    before = current_isa()
    if core().svf_set_isa(name.encode()):
        raise UnsupportedInput(last_error())
    try:
        yield
    finally:
        core().svf_set_isa(before.encode())
