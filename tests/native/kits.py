"""The files for a 64-bit ARM device, cross-built once in a test run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.once import once

ROOT = Path(__file__).parents[2]
SYSROOT = Path("/usr/aarch64-linux-gnu")
TOOLS = ("aarch64-linux-gnu-g++", "qemu-aarch64")


def arm_kit(factory: pytest.TempPathFactory) -> Path:
    """The folder; skips the test, with the reason, where the tools are missing.

    The build folder is the checkout's, so that what was compiled stays compiled.
    """
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or not SYSROOT.is_dir():
        pytest.skip(f"needs {', '.join(missing or [str(SYSROOT)])} (apt: g++-aarch64-linux-gnu qemu-user)")
    pytest.importorskip("executorch")

    def make(output: Path) -> None:
        command = [sys.executable, str(ROOT / "tools" / "device_kit.py"), "linux-aarch64", "--output", str(output)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    return once(factory, "kits", make) / "linux-aarch64"
