from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from svf_edge.runtimes.devices.address import parse_address
from svf_edge.runtimes.devices.connect import transport
from svf_edge.runtimes.devices.transport import Transport
from tests.runtimes.devices.daemons import Adbd, Daemon, Sshd, why_no_adbd, why_no_sshd


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A running sshd; tests that kill it start it again."""
    if reason := why_no_sshd():
        pytest.skip(reason)
    daemon = Sshd(tmp_path_factory.mktemp("sshd"))
    daemon.start()
    yield daemon
    daemon.kill()


@pytest.fixture(scope="session")
def adbd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adbd]:
    """A running adbd; tests that kill it start it again."""
    if reason := why_no_adbd():
        pytest.skip(reason)
    daemon = Adbd(tmp_path_factory.mktemp("adbd"))
    daemon.start()
    yield daemon
    daemon.stop()


class Target:
    """A device of one kind: its daemon (None for this machine), and its address with any folder."""

    def __init__(self, kind: str, daemon: Daemon | None, config: Path | None) -> None:
        self.kind = kind
        self.daemon = daemon
        self.config = config

    def url(self, folder: Path) -> str:
        if isinstance(self.daemon, Sshd):
            return f"{self.daemon.url}{folder}"
        return f"adb://{self.daemon.serial}{folder}" if isinstance(self.daemon, Adbd) else f"local://{folder}"

    def transport(self, folder: Path = Path("/")) -> Transport:
        return transport(parse_address(self.url(folder)), self.config)


def _target(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Target:
    if kind == "local":
        return Target(kind, None, None)
    if kind == "ssh":
        sshd: Sshd = request.getfixturevalue("sshd")
        return Target(kind, sshd, sshd.config)
    adbd: Adbd = request.getfixturevalue("adbd")
    monkeypatch.setenv("ADB_SERVER_SOCKET", adbd.environment["ADB_SERVER_SOCKET"])
    return Target(kind, adbd, None)


@pytest.fixture(params=["local", "ssh", "adb"])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Every kind of device."""
    return _target(request.param, request, monkeypatch)


@pytest.fixture(params=["ssh", "adb"])
def remote(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """A device behind a daemon, which is there again for the next test."""
    found = _target(request.param, request, monkeypatch)
    yield found
    assert isinstance(found.daemon, (Sshd, Adbd))
    if found.daemon.process is None or found.daemon.process.poll() is not None:
        found.daemon.start()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
