"""Joints of every frame as JSON lines, for other programs."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from svf_edge.errors import BadFile, SvfError
from svf_edge.runtimes.tracking.measures import Summary

if TYPE_CHECKING:
    from svf_edge.runtimes.tracking.pipeline import Tracked

STDOUT = "-"


def read_summary(path: str | Path) -> Summary:
    """The last line of a finished file. Raises `BadFile` for another one."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return Summary.model_validate(json.loads(lines[-1])["summary"])
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror}); make it with `svf-edge track --json`") from error
    except (ValueError, LookupError, TypeError) as error:
        raise BadFile(
            f"{path}: does not end with the summary of a run; give a finished file of `svf-edge track --json`"
        ) from error


class JsonLines:
    """One line a tracked frame, written at once, and `{"summary": ...}` as the last.

    A file grows while the run lasts, so that another program can follow it.
    """

    def __init__(self, path: str | Path) -> None:
        """Begin the file at `path`, or "-" for standard output."""
        self.name = str(path)
        self._stdout = self.name == STDOUT
        if not self._stdout:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = sys.stdout if self._stdout else Path(path).open("w", encoding="utf-8")  # noqa: SIM115

    def write(self, tracked: Tracked) -> None:
        """Write the line of one frame. Raises `SvfError` when its reader has gone or the disk is full."""
        self._line(tracked.as_json())

    def close(self, summary: Summary) -> None:
        """Write the last line."""
        self._line({"summary": summary.model_dump(mode="json")})
        self.release()

    def release(self) -> None:
        """Close the file without a summary."""
        if not self._stdout:
            with suppress(OSError):  # what could not be written was named when it was
                self._file.close()

    def _line(self, content: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(content, separators=(",", ":")) + "\n")
            self._file.flush()
        except OSError as error:
            if self._stdout:  # the interpreter flushes it once more at its end
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SvfError(
                f"--json {self.name}: cannot be written ({error.strerror}); keep its reader running, or make room"
            ) from error
