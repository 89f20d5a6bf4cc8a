"""A real sshd and a real adbd on loopback, each of which can be killed with everything it started."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[3]
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
ADBD = ROOT / "build" / "adbd" / "adbd"
ADBD_PORT = 6555  # outside the range that the adb server searches for emulators


class Daemon:
    """A process that can be started again."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """Kill the daemon and all that came from it: what a device that loses power looks like from here."""
        if self.process is None:
            return
        for pid in (self.process.pid, *descendants(self.process.pid)):  # no shell outlives its connection
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self.process = None


class Sshd(Daemon):
    """sshd on a port of its own, with a host key, a user key and a list of known hosts that are all in `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for key in ("host", "other", "user", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        (folder / "sshd.conf").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile "
            f"{folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"UsePAM no\nPidFile none\nSetEnv HOME={folder}\n"
        )
        self.config = self.write_config("config", known="host.pub", identity="user")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd keeps its unprivileged part there

    @property
    def url(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    def write_config(self, name: str, known: str | None, identity: str) -> Path:
        """A client configuration that knows the host by the key file `known`, and shows the key `identity`."""
        hosts = self.folder / f"{name}.known_hosts"
        hosts.write_text(f"[127.0.0.1]:{self.port} {(self.folder / known).read_text()}" if known else "")
        config = self.folder / name
        config.write_text(
            f"IdentityFile {self.folder / identity}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile "
            f"{hosts}\nGlobalKnownHostsFile /dev/null\n"
        )
        return config

    def start(self) -> None:
        assert SSHD is not None
        log = (self.folder / "sshd.log").open("ab")
        self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(self.folder / "sshd.conf")], stderr=log)
        log.close()
        wait_for(self._answers, f"sshd (see {self.folder}/sshd.log)")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


class Adbd(Daemon):
    """adbd in a network namespace of its own, with an adb server that is reached by a socket file from outside."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.serial = f"127.0.0.1:{ADBD_PORT}"
        self.socket = folder / "adb.socket"
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "ADBD_PORT": str(ADBD_PORT),
            "ADB_SERVER_SOCKET": f"localfilesystem:{self.socket}",
        }
        self._log = folder / "adb.log"
        server = ["adb", "-L", self.environment["ADB_SERVER_SOCKET"], "nodaemon", "server"]
        self.server = self._spawn(
            [*namespace(), sys.executable, str(Path(__file__).with_name("in_namespace.py")), *server]
        )
        wait_for(self.socket.exists, f"the adb server (see {self._log})")

    def start(self) -> None:
        enter = ["nsenter", "--target", str(self.server.pid), "--net"]
        if os.getuid():
            enter += ["--user", "--preserve-credentials"]
        self.process = self._spawn([*enter, str(ADBD)])
        wait_for(self._answers, f"adbd (see {self._log})")

    def stop(self) -> None:
        self.kill()
        self.server.kill()
        self.server.wait()

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _answers(self) -> bool:
        subprocess.run(["adb", "connect", self.serial], env=self.environment, capture_output=True, timeout=10)
        state = subprocess.run(
            ["adb", "-s", self.serial, "get-state"], env=self.environment, capture_output=True, timeout=10
        )
        return state.stdout.strip() == b"device"


def namespace() -> list[str]:
    """The command that runs another in a new network namespace."""
    return ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]


def why_no_sshd() -> str | None:
    """Why sshd cannot run here, if so."""
    for program, found in (("sshd", SSHD), ("ssh", shutil.which("ssh"))):
        if not found:
            return f"{program} is not installed (Debian: apt install openssh-server openssh-client)"
    return None


def why_no_adbd() -> str | None:
    """Why adbd cannot run here, if so."""
    for program in ("adb", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: apt install adb util-linux)"
    if not ADBD.is_file():
        return "adbd is not here (run: tools/fetch_adbd.sh build/adbd)"
    tried = subprocess.run([*namespace(), "true"], capture_output=True, text=True)
    return f"this machine gives no network namespace ({tried.stderr.strip()})" if tried.returncode else None


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come up in {seconds:.0f} s")
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """Children of a process, and behind each of them theirs."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))

    def below(parent: int) -> list[int]:
        return [pid for child in children.get(parent, []) for pid in (child, *below(child))]

    return below(pid)
