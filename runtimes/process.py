"""A child process that answers requests, one JSON line each way."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import BaseModel

from svf_edge.errors import SvfError

Reply = TypeVar("Reply", bound=BaseModel)

_PATIENCE = 120.0


class ChildEnded(SvfError):
    """A child process died, or fell silent, where a reply was due."""


class Worker:
    """Runs `python -m command...`; ends it when the block ends.

    The child's standard error goes to a file, so that a crash can be told with the last line it wrote. `does` is what
    the child is for, as an error calls it: "measuring", "checking".
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], does: str = "measuring") -> None:
        self._does = does
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        self._buffer = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **environment},
        )

    def send(self, request: Mapping[str, Any]) -> None:
        """Send one request. Raises `ChildEnded` when the process is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ChildEnded(self._epitaph()) from error

    def read(self, reply: type[Reply], patience: float = 0.0) -> Reply:
        """Read one reply.

        Raises `SvfError` with the child's own message, `ChildEnded` with how it died or that it took too long.
        """
        data = json.loads(self._line(_PATIENCE + patience))
        if "error" in data:
            raise SvfError(data["error"])
        return reply.model_validate(data)

    def _line(self, patience: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            if not select.select([descriptor], [], [], patience)[0]:
                raise ChildEnded(f"the {self._does} process gave no answer for {patience:.0f} s")
            part = os.read(descriptor, 1 << 16)
            if not part:
                raise ChildEnded(self._epitaph())
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _epitaph(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"the {self._does} process {how}" + (f": {lines[-1]}" if lines else "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


@contextmanager
def replies() -> Iterator[Callable[[BaseModel], None]]:
    """In the child: yields the function that sends a reply. An `SvfError` in the block is sent instead of the next one.

    Native code may print; the channel to the parent carries nothing but replies.
    """
    with os.fdopen(os.dup(1), "wb") as channel:
        os.dup2(2, 1)

        def send(line: str) -> None:
            channel.write(line.encode() + b"\n")
            channel.flush()

        try:
            yield lambda reply: send(reply.model_dump_json())
        except SvfError as error:
            send(json.dumps({"error": str(error)}))
