"""What docs/data.md tells its reader to write works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from svf_edge.data.formats.eventhpe import EventHpeDataset, write_eventhpe
from svf_edge.data.source import KINDS, parse_source
from tests.data.rendered import rendered

TEXT = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")


def test_every_data_entry_is_valid() -> None:
    entries = [yaml.safe_load(line)["data"] for line in re.findall(r"^ +(data: \{.*\})$", TEXT, re.MULTILINE)]
    assert {entry["kind"] for entry in entries} == {"coco", "synthetic"}
    sources = [parse_source(entry) for entry in entries]
    assert [source.channels for source in sources].count(2) == 1
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == set(KINDS)


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    assert [link for link in links if not (Path(__file__).parents[2] / "docs" / link).exists()] == []


def test_the_conversion_script_makes_readable_poses(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib", reason="the poses of EventHPE are written with joblib")
    write_eventhpe(rendered(), tmp_path)
    before = EventHpeDataset(tmp_path, "train", frames=4, gaps=(1,))[0]
    for path in sorted((tmp_path / "pose_events").rglob("*.npz")):
        with np.load(path) as arrays:
            names = ("beta", "body_pose", "trans", "joints3d", "joints2d")
            joblib.dump(tuple(arrays[name] for name in names), path.with_suffix(".pkl"))
        path.unlink()
    [script] = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=120)
    after = EventHpeDataset(tmp_path, "train", frames=4, gaps=(1,))[0]
    for key in ("frames", "joints", "joints3d"):
        assert torch.equal(before[key], after[key])  # type: ignore[literal-required]
