"""Runs svf-run, and makes bundles whose manifest fits what was done to them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from svf_edge.errors import MissingLibrary
from svf_edge.export.bundle.manifest import MANIFEST
from svf_edge.export.bundle.native import RUNNER
from svf_edge.export.libraries import find_native
from svf_edge.files import sha256
from svf_edge.runtimes.runner_schema import ExitCode


def runner() -> Path:
    """svf-run as it was built here; skips the test, with the reason, where it was not."""
    try:
        return find_native(RUNNER)
    except MissingLibrary as error:
        pytest.skip(str(error))


def svf_run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run it to its end. A crash is no way to end, and a failure leaves exactly one line."""
    command = [str(runner()), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, **options)
    assert done.returncode in set(ExitCode), done
    assert len(done.stderr.splitlines()) == (done.returncode != 0), done.stderr
    return done


def refused(folder: Path, code: ExitCode) -> str:
    """The sentence with which svf-run refuses a bundle, having printed nothing else."""
    done = svf_run("check", folder)
    assert (done.returncode, done.stdout) == (code, ""), done
    return done.stderr


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest of a bundle in place."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def seal(folder: Path, *names: str) -> None:
    """Put size and hash of files as they are now into the manifest."""

    def enter(manifest: dict[str, Any]) -> None:
        for name in names:
            path = folder / name
            manifest["files"][name] = {"sha256": sha256(path), "size": path.stat().st_size}

    edit(folder, enter)
