"""What can go wrong with a device, apart by what to do about it."""

from __future__ import annotations

from svf_edge.errors import SvfError


class DeviceError(SvfError):
    """A device cannot be reached, refuses, or does not do what it was asked to."""


class DeviceLost(DeviceError):
    """The connection broke or could not be made; what is safe to repeat may be tried again."""


class DeviceTimeout(DeviceError):
    """The device is there and did not finish in time."""


class DeviceFull(DeviceError):
    """No space is left on the device."""
