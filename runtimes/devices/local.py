"""This machine as a device: the same commands, with nothing between."""

from __future__ import annotations

from svf_edge.runtimes.devices.errors import DeviceError
from svf_edge.runtimes.devices.transport import Transport


class Local(Transport):
    """Runs commands here."""

    def open(self) -> None:
        """Nothing to connect to."""

    def argv(self, script: str) -> list[str]:
        """sh itself."""
        return ["sh", "-c", script]

    def lost(self, doing: str, complaint: str) -> DeviceError:
        """The shell was killed."""
        return DeviceError(f"{self.address}: the command was killed while {doing} ({complaint}); run it again")
