"""The stand-in for trtexec as a program in a folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tests.runtimes.tensorrt.builds import HERE


def place_fake_trtexec(folder: Path) -> Path:
    """A program called trtexec in `folder` that runs `fake_trtexec.py`."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "trtexec"
    program.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(HERE / "fake_trtexec.py"))} "$@"\n'
    )
    program.chmod(0o755)
    return program
