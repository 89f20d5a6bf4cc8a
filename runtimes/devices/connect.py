"""From an address to a transport."""

from __future__ import annotations

from pathlib import Path

from svf_edge.runtimes.devices.adb import Adb
from svf_edge.runtimes.devices.address import Address
from svf_edge.runtimes.devices.local import Local
from svf_edge.runtimes.devices.ssh import Ssh
from svf_edge.runtimes.devices.transport import Transport


def transport(address: Address, ssh_config: Path | None = None) -> Transport:
    """The way to a device, not yet open."""
    match address.kind:
        case "ssh":
            return Ssh(address, ssh_config)
        case "adb":
            return Adb(address)
        case "local":
            return Local(address)
