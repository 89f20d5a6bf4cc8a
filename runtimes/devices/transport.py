"""Running POSIX sh on a device: the small interface that every way of reaching one has."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from svf_edge.files import atomic_write
from svf_edge.runtimes.devices.address import Address
from svf_edge.runtimes.devices.errors import DeviceError, DeviceFull, DeviceTimeout

_ENDING_SECONDS = 20.0
_FULL = ("No space left on device", "Disk quota exceeded", "File too large")

# Whether a command ended, and how, is told by a last line of its own on standard error: exit codes of ssh and adb
# cannot tell a broken connection from a command that failed.
#
# {guarded} runs beside a watch on standard input, which the host keeps open: when the connection is gone, input ends,
# and the command is ended instead of running on unseen. The watch is a builtin, so that ending it leaves nothing behind
# that holds input: adbd waits for that.
_GUARDED = """exec 3<&0
( {script}
) </dev/null 3<&- &
p=$!
( while read -r _; do :; done <&3; kill "$p" ) >/dev/null 2>&1 &
g=$!
wait "$p"; c=$?
kill "$g" 2>/dev/null
printf '\\n{mark} %s\\n' "$c" >&2"""
_FED = """( {script}
)
printf '\\n{mark} %s\\n' "$?" >&2"""


@dataclass(frozen=True)
class Completed:
    """A command that ran to its end: exit code, standard output, standard error."""

    code: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """The last line of standard error, or the exit code."""
        lines = self.stderr.strip().splitlines()
        return lines[-1] if lines else f"exit code {self.code}"


class Transport(ABC):
    """A way to a device. Use it as a context manager; `open` again after `DeviceLost` makes a new connection."""

    def __init__(self, address: Address) -> None:
        self.address = address

    @abstractmethod
    def open(self) -> None:
        """Connect. Raises `DeviceLost` where another try may help, and `DeviceError` where it cannot."""

    def close(self) -> None:  # noqa: B027 (two of three hold no connection)
        """Let go of the connection."""

    @abstractmethod
    def argv(self, script: str) -> list[str]:
        """The host's command that runs `script` in the device's sh, with standard streams passed through."""

    @abstractmethod
    def lost(self, doing: str, complaint: str) -> DeviceError:
        """Why a command did not come to its end; `complaint` is what the client wrote last."""

    def run(self, script: str, *, doing: str, timeout: float, stdin: Path | None = None) -> Completed:
        """Run `script` to its end; standard input is the file `stdin`, or empty.

        `doing` completes "while ..." in errors. A command without `stdin` is ended on the device when the connection
        breaks or `timeout` seconds have passed.

        Raises `DeviceLost`, `DeviceTimeout`, or `DeviceFull` when the command failed for want of space.
        """
        return self._start(script, doing, stdin).wait(timeout)

    def start(self, script: str, *, doing: str) -> Running:
        """Start `script`, which runs until it is stopped. Raises `DeviceError` when the client is not installed."""
        return self._start(script, doing, None)

    def fetch(self, there: str, here: Path, *, timeout: float = 60.0) -> None:
        """Copy a file of the device to `here`, whole or not at all. Raises as `check`."""
        doing = f"fetching {there}"
        completed = self._start(f"cat {shlex.quote(there)}", doing, None).wait(timeout, into=here)
        if completed.code:
            raise DeviceError(f"{self.address}: failed while {doing}: {completed.complaint}")

    def _start(self, script: str, doing: str, stdin: Path | None) -> Running:
        mark = f"svf-exit-{secrets.token_hex(8)}"
        wrapped = (_GUARDED if stdin is None else _FED).format(script=script, mark=mark)
        return Running(self, self.argv(wrapped), mark, doing, stdin)

    def check(self, script: str, *, doing: str, timeout: float = 60.0, stdin: Path | None = None) -> str:
        """Standard output of a command that must succeed. Raises as `run`, and `DeviceError` when it fails."""
        completed = self.run(script, doing=doing, timeout=timeout, stdin=stdin)
        if completed.code:
            raise DeviceError(f"{self.address}: failed while {doing}: {completed.complaint}")
        return completed.stdout

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


class Running:
    """A command on a device. Its standard input is a file, or stays open until the command is stopped."""

    def __init__(self, transport: Transport, argv: Sequence[str], mark: str, doing: str, stdin: Path | None) -> None:
        self._transport, self._mark, self._doing = transport, mark, doing
        self._stdout, self._stderr = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (see _end)
        self._hold: int | None = None
        if stdin is None:
            source, self._hold = os.pipe()
        else:
            source = os.open(stdin, os.O_RDONLY)
        try:
            self._process = client(argv, stdin=source, stdout=self._stdout, stderr=self._stderr)
        except BaseException:
            self._close()
            raise
        finally:
            os.close(source)

    def wait(self, timeout: float, into: Path | None = None) -> Completed:
        """Wait for its end; what it wrote goes to the file `into`, if given, when it ends well.

        Raises as `Transport.run`.
        """
        try:
            self._process.wait(timeout)
            return self._completed(into)
        except subprocess.TimeoutExpired:
            raise DeviceTimeout(
                f"{self._transport.address}: gave no answer for {timeout:.0f} s while {self._doing}; check the "
                "device's load, or give it more time"
            ) from None
        finally:
            self.abandon()

    def stop(self) -> str:
        """End it on the device and return what it wrote. Raises as `Transport.run`."""
        self._release()
        return self.wait(_ENDING_SECONDS).stdout

    def abandon(self) -> None:
        """End it without asking what became of it."""
        self._release()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._close()

    def _completed(self, into: Path | None) -> Completed:
        where = self._transport.address
        text, found, status = _content(self._stderr).rpartition(f"\n{self._mark} ")
        if not found:
            lines = status.strip().splitlines()
            complaint = lines[-1] if lines else f"the client ended with exit code {self._process.returncode}"
            raise self._transport.lost(self._doing, complaint)
        code = int(status.split()[0])
        if into is not None and not code:
            self._stdout.seek(0)
            with atomic_write(into) as temporary, temporary.open("wb") as target:
                shutil.copyfileobj(self._stdout, target)
            return Completed(code, "", text)
        completed = Completed(code, _content(self._stdout), text)
        if completed.code and any(word in text for word in _FULL):
            raise DeviceFull(
                f"{where}: no space is left on the device while {self._doing}; free some, or name another folder in "
                f"the address ({where.kind}://.../folder)"
            )
        return completed

    def _release(self) -> None:
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None

    def _close(self) -> None:
        self._release()
        self._stdout.close()
        self._stderr.close()


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def client(
    argv: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Start a client program. Raises `DeviceError` when it is not installed."""
    try:
        return subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr)
    except FileNotFoundError:
        packages = {"ssh": "openssh-client", "adb": "adb"}
        raise DeviceError(
            f"the program '{argv[0]}' is not installed; install it (Debian: apt install "
            f"{packages.get(argv[0], argv[0])})"
        ) from None


def in_sh(script: str) -> str:
    """A command line for a login shell of any kind that runs `script` in sh."""
    return f"exec sh -c {shlex.quote(script)}"
