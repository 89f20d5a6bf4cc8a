"""Probes of the core: they run, and answer in a plausible order."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks import probes

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")


def test_peaks_and_bandwidth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "BUILD", tmp_path)
    probes._library.cache_clear()
    try:
        assert probes.peak("fma", tries=1) > 0
        assert probes.peak("add", tries=1) > 0
        assert probes.peak("dot", tries=1) >= 0
        assert probes.read_bandwidth(1 << 16, tries=1) > 0
        assert list(tmp_path.iterdir())
    finally:
        probes._library.cache_clear()
