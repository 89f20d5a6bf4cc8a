"""An Android device by the adb client and its server."""

from __future__ import annotations

import subprocess

from svf_edge.runtimes.devices.address import Address
from svf_edge.runtimes.devices.errors import DeviceError, DeviceLost
from svf_edge.runtimes.devices.transport import Transport, client, in_sh

ANSWER_SECONDS = 20

_STATES = {
    "unauthorized": "does not trust this computer yet; unlock it and accept the debugging question on its screen",
    "authorizing": "is still asking whether to trust this computer; accept the question on its screen",
    "offline": "is attached and does not answer; unplug it and plug it in again, or run `adb reconnect`",
    "no permissions": "may not be used by this user; install your system's udev rules for Android devices",
    "recovery": "is in recovery mode; start Android on it",
    "sideload": "is waiting for a package; start Android on it",
    "bootloader": "is in its boot loader; start Android on it",
}
_WORTH_ANOTHER_TRY = ("offline", "authorizing")


class Adb(Transport):
    """Runs commands by `adb shell`. Without a serial it means the one device that is attached."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._serial = address.host

    def open(self) -> None:
        """Find the device; one with a network address is connected to first."""
        if ":" in self._serial:
            adb("connect", self._serial)  # says "failed" and ends well when nobody answers; the list below tells
        found = attached()
        if not self._serial:
            if len(found) > 1:
                raise DeviceError(
                    f"{self.address}: several devices are attached ({', '.join(sorted(found))}); write adb://SERIAL"
                )
            self._serial = next(iter(found), "")
        if self._serial not in found:
            others = f"attached are {', '.join(sorted(found))}" if found else "none is attached"
            raise DeviceLost(
                f"{self.address}: no such device is attached to adb ({others}); plug it in with USB debugging on, or "
                "check its network address"
            )
        state = found[self._serial]
        if state != "device":
            sentence = _STATES.get(state, f"is in state '{state}'; start Android on it")
            kind = DeviceLost if state in _WORTH_ANOTHER_TRY else DeviceError
            raise kind(f"{self.address}: the device {sentence}")

    def argv(self, script: str) -> list[str]:
        """`adb shell` without a terminal."""
        return ["adb", "-s", self._serial, "shell", "-T", in_sh(script)]

    def lost(self, doing: str, complaint: str) -> DeviceError:
        """The device went away."""
        return DeviceLost(
            f"{self.address}: the device went away while {doing} ({complaint}); check its cable or network and that "
            "`adb devices` lists it, then run again"
        )


def attached() -> dict[str, str]:
    """State by serial of everything adb sees. Raises `DeviceError`."""
    devices: dict[str, str] = {}
    for line in adb("devices").splitlines():
        serial, tab, state = line.partition("\t")
        if tab:
            devices[serial.strip()] = state.split(";")[0].split("(")[0].strip()
    return devices


def adb(*arguments: str) -> str:
    """Standard output of an adb command that needs no device. Raises `DeviceError`."""
    process = client(["adb", *arguments])
    try:
        stdout, stderr = process.communicate(timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise DeviceError(f"adb gave no answer for {ANSWER_SECONDS} s; restart it with `adb kill-server`") from None
    if process.returncode:
        lines = stderr.decode(errors="replace").strip().splitlines()
        raise DeviceError(f"adb {arguments[0]} failed ({lines[-1] if lines else 'no reason given'})")
    return stdout.decode(errors="replace")
