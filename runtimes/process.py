"""A child process that answers requests, one JSON line each way."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import BaseModel

from svf_edge.errors import SvfError

Reply = TypeVar("Reply", bound=BaseModel)

_PATIENCE = 120.0


class Worker:
    """Runs `python -m command...`; ends it when the block ends.

    The child's standard error goes to a file, so that a crash can be told with the last line it wrote.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
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
        """Send one request. Raises `SvfError` when the process is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise SvfError(self._epitaph()) from error

    def read(self, reply: type[Reply], patience: float = 0.0) -> Reply:
        """Read one reply. Raises `SvfError` with the child's own message, or how it died, or that it took too long."""
        data = json.loads(self._line(_PATIENCE + patience))
        if "error" in data:
            raise SvfError(data["error"])
        return reply.model_validate(data)

    def _line(self, patience: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            if not select.select([descriptor], [], [], patience)[0]:
                raise SvfError(f"the measuring process gave no answer for {patience:.0f} s")
            part = os.read(descriptor, 1 << 16)
            if not part:
                raise SvfError(self._epitaph())
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _epitaph(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"the measuring process {how}" + (f": {lines[-1]}" if lines else "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()
