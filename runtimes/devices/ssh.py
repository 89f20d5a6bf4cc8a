"""A device over ssh, by the OpenSSH client: its configuration, agent, jump hosts and known hosts are the user's own.

One authenticated connection is held open (a control master), and every command is a channel of it. Host keys are
checked and never accepted here; nothing asks for a password.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from svf_edge.runtimes.devices.address import Address
from svf_edge.runtimes.devices.errors import DeviceError, DeviceLost
from svf_edge.runtimes.devices.transport import Transport, client, in_sh

CONNECT_SECONDS = 10
ALIVE_SECONDS = 5
ALIVE_COUNT = 3


class Ssh(Transport):
    """Runs commands over ssh. `config` is a file for `ssh -F`."""

    def __init__(self, address: Address, config: Path | None = None) -> None:
        super().__init__(address)
        self._folder = tempfile.TemporaryDirectory(prefix="svf-")
        self._socket = Path(self._folder.name) / "s"
        self._options = ["-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-S", str(self._socket)]
        if config is not None:
            self._options += ["-F", str(config)]
        if address.port is not None:
            self._options += ["-p", str(address.port)]
        self._master: subprocess.Popen[bytes] | None = None

    @property
    def _host(self) -> str:
        return self.address.host.replace("[", "").replace("]", "")

    def open(self) -> None:
        """Connect and authenticate."""
        self._end_master()
        options = {
            "ControlMaster": "yes",
            "ControlPersist": "no",
            "ConnectTimeout": CONNECT_SECONDS,
            "ServerAliveInterval": ALIVE_SECONDS,
            "ServerAliveCountMax": ALIVE_COUNT,
        }
        settings = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        self._master = client(["ssh", "-N", *settings, *self._options, "--", self._host])
        deadline = time.monotonic() + 3 * CONNECT_SECONDS
        while not self._socket.exists():  # made once the user is let in
            if self._master.poll() is not None:
                _, stderr = self._master.communicate()
                raise self._refusal(stderr.decode(errors="replace"))
            if time.monotonic() > deadline:
                raise DeviceLost(
                    f"{self.address}: no answer within {3 * CONNECT_SECONDS} s; check that `ssh {self._host}` works"
                )
            time.sleep(0.02)

    def close(self) -> None:
        """Close the connection."""
        self._end_master()
        self._folder.cleanup()

    def argv(self, script: str) -> list[str]:
        """A channel of the open connection, and never a connection of its own."""
        return [
            "ssh",
            "-o",
            "ControlMaster=no",
            "-o",
            "ProxyCommand=false",
            *self._options,
            "--",
            self._host,
            in_sh(script),
        ]

    def lost(self, doing: str, complaint: str) -> DeviceError:
        """The connection broke."""
        return DeviceLost(
            f"{self.address}: the connection broke while {doing} ({complaint}); check the device and the network, "
            "then run again"
        )

    def _end_master(self) -> None:
        if self._master is not None:
            self._master.terminate()
            self._master.communicate()
            self._master = None
        self._socket.unlink(missing_ok=True)

    def _refusal(self, text: str) -> DeviceError:
        """What the client said when it could not connect, as one sentence with the fix."""
        where, lines = self.address, text.strip().splitlines()
        last = lines[-1] if lines else "ssh gave no reason"
        if "REMOTE HOST IDENTIFICATION HAS CHANGED" in text:
            return DeviceError(
                f"{where}: the host key is not the one known for this host: it was reinstalled, or another machine "
                f"answers; compare its fingerprint on the device, then remove the old key with ssh-keygen -R"
            )
        if "host key is known for" in text or "Host key verification failed" in text:
            return DeviceError(
                f"{where}: the host key is not known here; connect once with `{self._by_hand()}`, compare the "
                "fingerprint and accept it"
            )
        if "Permission denied" in text or "Too many authentication failures" in text:
            return DeviceError(
                f"{where}: the device refuses the login ({last}); put your public key there with ssh-copy-id"
            )
        if "Could not resolve hostname" in text:
            return DeviceError(f"{where}: no host has this name ({last}); check the address and your ssh configuration")
        if "Bad configuration" in text or "Can't open user config file" in text:
            return DeviceError(f"{where}: ssh cannot read its configuration ({last}); repair the file")
        return DeviceLost(
            f"{where}: cannot be reached ({last}); check that it is on, and that `{self._by_hand()}` works"
        )

    def _by_hand(self) -> str:
        port = f" -p {self.address.port}" if self.address.port is not None else ""
        return f"ssh{port} {self._host}"
