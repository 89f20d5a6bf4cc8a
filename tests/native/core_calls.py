"""The C API called on numpy arrays: what the operators of the runtimes pass on, and threads."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from svf_edge.export.ops import library
from svf_edge.packing import word_count
from tests.native.cases import ConvCase

AUTO, EVENT, DENSE = 0, 1, 2  # svf_density
_TYPES = {np.dtype(np.uint8): 0, np.dtype(np.int8): 1, np.dtype(np.int32): 2}  # svf_type

_Task = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)
_ForEach = ctypes.CFUNCTYPE(None, ctypes.c_void_p, _Task, ctypes.c_void_p, ctypes.c_size_t)


class _Parallel(ctypes.Structure):
    _fields_ = [("for_each", _ForEach), ("context", ctypes.c_void_p)]


def pointer(array: NDArray[np.generic] | None) -> ctypes.c_void_p | None:
    """Address of a contiguous array, or a null pointer."""
    return None if array is None else ctypes.c_void_p(array.ctypes.data)


def checked(status: int) -> None:
    """Raises `ValueError` with the core's sentence where a function failed."""
    if status:
        raise ValueError(library.last_error())


@contextlib.contextmanager
def threads(count: int) -> Iterator[ctypes.c_void_p | None]:
    """An `svf_parallel` of that many threads; a null pointer for one."""
    if count == 1:
        yield None
        return
    with ThreadPoolExecutor(count) as pool:

        @_ForEach
        def for_each(context: int, task: ctypes._CFunctionType, argument: int, n: int) -> None:
            list(pool.map(lambda i: task(argument, i), range(n)))

        parallel = _Parallel(for_each, None)
        yield ctypes.cast(ctypes.byref(parallel), ctypes.c_void_p)


@dataclass(frozen=True, eq=False)
class Stage:
    """What a `svf_lif_stage` says: vectors int32 `[C]`, residual int32 of the result's shape or None."""

    gain: NDArray[np.int32]
    bias: NDArray[np.int32]
    theta: NDArray[np.int32]
    residual: NDArray[np.int32] | None
    keep_sum: bool
    soft_reset: bool
    levels: int

    def outputs(self, shape: tuple[int, ...]) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
        """Words `[levels, ..., ceil(C / 32)]` and the sum, filled with what must not be left there."""
        spikes = np.full((self.levels, *shape[:-1], word_count(shape[-1])), 0x55555555, np.int32)
        return spikes, np.full(shape, 0x55555555, np.int32) if self.keep_sum else None

    def struct(self, spikes: NDArray[np.int32], total: NDArray[np.int32] | None) -> library.LifStage:
        """The C struct, which points into this object and the outputs."""
        vectors = (self.gain, self.bias, self.theta, self.residual, total, spikes)
        return library.LifStage(*(pointer(array) for array in vectors), int(self.soft_reset), self.levels)


def conv_params(
    case: ConvCase, levels: int, density: int, x: NDArray[np.generic], zero_point: int
) -> library.Conv2dParams:
    """Parameters of a case with an int32 output; `x` is packed where it is int32."""
    return library.Conv2dParams(
        frames=case.frames,
        height=case.height,
        width=case.width,
        in_channels=case.group_in * case.groups,
        out_channels=case.group_out * case.groups,
        kernel=case.kernel,
        stride=case.stride,
        padding=case.padding,
        groups=case.groups,
        output_type=_TYPES[np.dtype(np.int32)],
        input_type=_TYPES[x.dtype],
        zero_point=zero_point,
        levels=levels,
        density=density,
    )


@contextlib.contextmanager
def prepared_weights(params: library.Conv2dParams, packed: bool, weight: NDArray[np.int8]) -> Iterator[ctypes.c_void_p]:
    """Weights ordered once by the kernel set in use."""
    handle = ctypes.c_void_p()
    checked(
        library.core().svf_prepare_weights(ctypes.byref(params), int(packed), pointer(weight), ctypes.byref(handle))
    )
    try:
        yield handle
    finally:
        library.core().svf_release_weights(handle)


def conv2d_lif(
    case: ConvCase,
    x: NDArray[np.generic],
    stage: Stage,
    levels: int = 1,
    density: int = AUTO,
    zero_point: int = 0,
    prepared: ctypes.c_void_p | None = None,
    parallel: ctypes.c_void_p | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
    """`svf_spike_conv2d_lif` where `x` holds words, else `svf_conv2d_lif`. Returns words and the sum."""
    params = conv_params(case, levels, density, x, zero_point)
    weight, bias, shift = case.weights()
    size = (ctypes.c_int32 * 2)()
    checked(library.core().svf_conv2d_output_size(ctypes.byref(params), size))
    spikes, total = stage.outputs((case.frames, *size, params.out_channels))
    function = library.core().svf_spike_conv2d_lif if x.dtype == np.int32 else library.core().svf_conv2d_lif
    arrays = (pointer(x), pointer(weight), prepared, pointer(bias), pointer(shift))
    checked(function(ctypes.byref(params), *arrays, ctypes.byref(stage.struct(spikes, total)), parallel))
    return spikes, total
