"""The little of the CUDA driver that an engine needs: one GPU, buffers, one stream. By ctypes, so no package is needed.

Not yet seen on hardware: machines without a GPU get as far as `NoGpu`.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import SvfError

_DRIVER = "libcuda.so.1"
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDeviceGet": (c_void_p, c_int),
    "cuDeviceGetAttribute": (c_void_p, c_int, c_int),
    "cuDevicePrimaryCtxRetain": (c_void_p, c_int),
    "cuDevicePrimaryCtxRelease_v2": (c_int,),
    "cuCtxSetCurrent": (c_void_p,),
    "cuStreamCreate": (c_void_p, c_uint),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamSynchronize": (c_void_p,),
    "cuMemAlloc_v2": (c_void_p, c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemcpyHtoD_v2": (c_uint64, c_void_p, c_size_t),
    "cuMemcpyDtoH_v2": (c_void_p, c_uint64, c_size_t),
    "cuGetErrorString": (c_int, c_void_p),
}


class NoGpu(SvfError):
    """This machine has no NVIDIA GPU that can be used. The message is a clause: "needs an NVIDIA GPU (...)"."""


class Driver:
    """The CUDA driver with GPU 0 chosen. Raises `NoGpu`."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(_DRIVER)
        except OSError as error:
            raise NoGpu(f"needs an NVIDIA GPU ({_DRIVER}, which its driver installs, is not here)") from error
        try:
            for name, arguments in _SIGNATURES.items():
                getattr(self._library, name).argtypes = arguments
        except AttributeError as error:
            raise NoGpu(f"needs a newer NVIDIA driver ({error})") from error
        self._device = c_int()
        try:
            self.call("cuInit", 0)
            self.call("cuDeviceGet", byref(self._device), 0)
        except SvfError as error:
            raise NoGpu(f"needs an NVIDIA GPU (the driver reports: {error})") from error

    def call(self, function: str, *arguments: Any) -> None:
        """Call a driver function. Raises `SvfError` with its name and the driver's words."""
        status = getattr(self._library, function)(*arguments)
        if status:
            text = c_char_p()
            self._library.cuGetErrorString(status, byref(text))
            raise SvfError(f"{function} failed: {(text.value or b'unknown error').decode()} ({status})")

    @property
    def device(self) -> int:
        """Ordinal handle of GPU 0."""
        return self._device.value

    @property
    def capability(self) -> int:
        """Compute capability as two digits or three, 87 for 8.7."""
        major, minor = c_int(), c_int()
        self.call("cuDeviceGetAttribute", byref(major), _CAPABILITY_MAJOR, self.device)
        self.call("cuDeviceGetAttribute", byref(minor), _CAPABILITY_MINOR, self.device)
        return 10 * major.value + minor.value


class Context:
    """GPU 0's primary context, a stream and buffers by name. Raises `NoGpu`; `close` frees everything."""

    def __init__(self) -> None:
        self._driver = Driver()
        handle = c_void_p()
        self._driver.call("cuDevicePrimaryCtxRetain", byref(handle), self._driver.device)
        self._driver.call("cuCtxSetCurrent", handle)
        self._stream = c_void_p()
        self._driver.call("cuStreamCreate", byref(self._stream), 0)
        self._buffers: dict[str, int] = {}

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return self._stream.value or 0

    def allocate(self, name: str, size: int) -> int:
        """Address of a new buffer of `size` bytes."""
        address = c_uint64()
        self._driver.call("cuMemAlloc_v2", byref(address), size)
        self._buffers[name] = address.value
        return address.value

    def upload(self, name: str, array: NDArray[Any]) -> None:
        """Copy `array` into its buffer."""
        array = np.ascontiguousarray(array)
        self._driver.call("cuMemcpyHtoD_v2", self._buffers[name], array.ctypes.data, array.nbytes)

    def download(self, name: str, array: NDArray[Any]) -> None:
        """Copy a buffer into the contiguous `array`."""
        self._driver.call("cuMemcpyDtoH_v2", array.ctypes.data, self._buffers[name], array.nbytes)

    def synchronize(self) -> None:
        """Wait for the stream."""
        self._driver.call("cuStreamSynchronize", self._stream)

    def close(self) -> None:
        """Free the buffers and the stream, and let go of the GPU."""
        for address in self._buffers.values():
            self._driver.call("cuMemFree_v2", address)
        self._buffers.clear()
        self._driver.call("cuStreamDestroy_v2", self._stream)
        self._driver.call("cuDevicePrimaryCtxRelease_v2", self._driver.device)
