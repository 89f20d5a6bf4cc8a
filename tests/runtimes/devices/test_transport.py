"""Running commands on devices: against this machine, a real sshd and a real adbd."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from svf_edge.errors import UnsupportedInput
from svf_edge.runtimes.devices.address import Address, parse_address
from svf_edge.runtimes.devices.connect import transport
from svf_edge.runtimes.devices.errors import DeviceError, DeviceFull, DeviceLost, DeviceTimeout
from tests.runtimes.devices.conftest import Target
from tests.runtimes.devices.daemons import Adbd, Sshd


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("local", ("local", "", None, None)),
        ("local:///tmp/x/", ("local", "", None, "/tmp/x")),
        ("ssh://jetson", ("ssh", "jetson", None, None)),
        ("ssh://pi@10.0.0.7:2222/var/tmp", ("ssh", "pi@10.0.0.7", 2222, "/var/tmp")),
        ("ssh://[fe80::1%eth0]:22", ("ssh", "[fe80::1%eth0]", 22, None)),
        ("adb://", ("adb", "", None, None)),
        ("adb://R58M12ABCDE", ("adb", "R58M12ABCDE", None, None)),
        ("adb://192.168.1.5:5555/data/x", ("adb", "192.168.1.5:5555", None, "/data/x")),
    ],
)
def test_addresses(url: str, expected: tuple[str, str, int | None, str | None]) -> None:
    assert parse_address(url) == Address(url, *expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "jetson",
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://a@-oX",
        "ssh://host:0",
        "ssh://host:99999",
        "ssh://u:secret@host",
        "adb://-s",
        "http://host",
        "local/tmp",
        "ssh://host/a\nb",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(UnsupportedInput, match=r"is no device|ports are"):
        parse_address(url)


def test_a_command_gives_its_streams_and_exit_code(target: Target, tmp_path: Path) -> None:
    with target.transport() as device:
        script = "printf 'a\\n\\nb'\nw='é it'\"'\"'s'; echo \"$w \\\"${PWD%%[!/]*}\\\" \\\\\" >&2; exit 255"
        done = device.run(script, doing="testing", timeout=20)
        assert (done.code, done.stdout) == (255, "a\n\nb")
        assert done.stderr == 'é it\'s "/" \\\n'
        assert device.run("cat", doing="reading nothing", timeout=20).stdout == ""
        with pytest.raises(DeviceError, match="failed while testing: no such luck"):
            device.check("echo no such luck >&2; exit 3", doing="testing")


def test_any_bytes_go_through(target: Target, tmp_path: Path) -> None:
    source, there = tmp_path / "source", tmp_path / "it's there"
    source.write_bytes(bytes(range(256)) * 4096 + b"\r\n\0\x04")
    with target.transport() as device:
        device.check(f'cat > "{there}"', doing="sending", stdin=source)
        assert there.read_bytes() == source.read_bytes()
        device.fetch(str(there), tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == source.read_bytes()
        with pytest.raises(DeviceError, match="failed while fetching /no/such/file"):
            device.fetch("/no/such/file", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_slow_command_is_ended_on_the_device(target: Target, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    with target.transport() as device:
        with pytest.raises(DeviceTimeout, match="no answer for 1 s while counting"):
            device.run(f"while :; do date > {alive}; sleep 0.1; done", doing="counting", timeout=1)
        time.sleep(0.5)
        alive.unlink()
        time.sleep(0.5)
    assert not alive.exists()


def test_a_daemon_killed_in_a_run_is_told_and_can_be_reached_again(remote: Target, tmp_path: Path) -> None:
    started = tmp_path / "started"
    with remote.transport() as device:
        assert remote.daemon is not None
        killer = threading.Thread(target=_kill_when, args=(remote, started))
        killer.start()
        with pytest.raises(DeviceLost, match=f"{remote.kind}://.*while running"):
            device.run(f"touch {started}; sleep 30", doing="running", timeout=25)
        killer.join()
        with pytest.raises(DeviceLost):
            device.open()
        assert isinstance(remote.daemon, (Sshd, Adbd))
        remote.daemon.start()
        device.open()
        assert device.check("echo back", doing="testing") == "back\n"


def _kill_when(remote: Target, started: Path) -> None:
    while not started.exists():
        time.sleep(0.02)
    assert remote.daemon is not None
    remote.daemon.kill()


def test_space_that_runs_out_is_told(target: Target, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(1 << 20))
    with target.transport() as device, pytest.raises(DeviceFull, match="no space is left on the device while sending"):
        device.check(f"trap '' XFSZ; ulimit -f 8; cat > {tmp_path}/copy", doing="sending", stdin=big)


@pytest.mark.parametrize(
    ("known", "identity", "sentence"),
    [
        (None, "user", "the host key is not known here; connect once with"),
        ("other.pub", "user", "the host key is not the one known for this host"),
        ("host.pub", "stranger", "the device refuses the login"),
    ],
)
def test_a_host_that_is_not_trusted_is_not_talked_to(
    sshd: Sshd, known: str | None, identity: str, sentence: str, tmp_path: Path
) -> None:
    config = sshd.write_config(f"{known}-{identity}", known, identity)
    hosts = sshd.folder / f"{config.name}.known_hosts"
    before = hosts.read_bytes()
    with pytest.raises(DeviceError, match=sentence) as caught, transport(parse_address(sshd.url), config):
        pass
    assert not isinstance(caught.value, DeviceLost), "another try could not help"
    assert hosts.read_bytes() == before and str(caught.value).count("\n") == 0


def test_a_host_that_is_not_there(sshd: Sshd) -> None:
    with (
        pytest.raises(DeviceLost, match="cannot be reached"),
        transport(parse_address("ssh://127.0.0.1:1"), sshd.config),
    ):
        pass
    with (
        pytest.raises(DeviceError, match="no host has this name"),
        transport(parse_address("ssh://no-such-host.invalid"), sshd.config),
    ):
        pass


def test_a_serial_that_is_not_attached(adbd: Adbd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADB_SERVER_SOCKET", adbd.environment["ADB_SERVER_SOCKET"])
    for serial in ("R58M12ABCDE", "127.0.0.1:1"):
        with (
            pytest.raises(DeviceLost, match=rf"no such device is attached to adb \(attached are {adbd.serial}\)"),
            transport(parse_address(f"adb://{serial}")),
        ):
            pass
    with transport(parse_address("adb://")) as only:
        assert only.check("echo here", doing="testing") == "here\n"


def test_a_client_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for url, package in (("adb://x", "apt install adb"), ("ssh://x", "apt install openssh-client")):
        with pytest.raises(DeviceError, match=package), transport(parse_address(url)):
            pass
