"""Kinetics' layout: what is written is read back, views and crops, and bad lists by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from svf_edge.data.check import check
from svf_edge.data.formats.kinetics import KineticsDataset, write_kinetics
from svf_edge.data.source import KineticsSource, parse_source
from svf_edge.data.video import count_frames, write_video
from svf_edge.errors import BadFile, UnsupportedInput
from tests.data.rendered import Clips, assert_well_formed, rendered

NAMES = ("high kick", "walking", "yoga")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight clips of 9 frames of 64x64, of classes 0 and 1 in turn: six train, two validate."""
    clips = Clips([{**rendered()[i % 2], "label": torch.tensor(i % 2)} for i in range(8)])
    return write_kinetics(clips, tmp_path / "kinetics", NAMES)


def test_what_is_written_is_read_back(folder: Path) -> None:
    data = KineticsDataset(folder, "train", 9, (64, 64))
    assert len(data) == 6 and data.classes == NAMES and not data.problems
    assert data.notes == ["1 videos that train.csv lists are not there: none0000000_000000_000010"]
    for index in range(6):
        sample = data[index]
        assert_well_formed(sample, 9, 3, (64, 64))
        assert not sample["visible"].any() and sample["mask"].eq(255).all()
        number = int(data.name(index).split("clip")[1][:7])
        assert int(sample["label"]) == number % 2
        assert torch.equal(sample["frames"], rendered()[number % 2]["frames"])


def test_views_are_spread_over_time_and_crops_over_space(folder: Path) -> None:
    source = KineticsSource(kind="kinetics", folder=folder, views=3, crops=3)
    data = source.clips("val", 3, (64, 32), 0)
    assert isinstance(data, KineticsDataset) and len(data) == 2 * 9
    assert len({data.group(index) for index in range(9)}) == 1 and data.group(0) != data.group(9)
    whole = rendered()[1]["frames"]
    for view, begin in enumerate((0, 3, 6)):
        for crop, left in enumerate((0, 16, 32)):
            expected = whole[begin : begin + 3, :, :, left : left + 32]
            assert torch.equal(data[3 * view + crop]["frames"], expected)
    assert len(source.clips("train", 3, (64, 64), 0)) == 6 * 4  # type: ignore[arg-type]


def test_folders_may_use_underscores_or_be_flat(folder: Path) -> None:
    place = folder / "train" / "high kick"
    place.rename(folder / "train" / "high_kick")
    for video in (folder / "train" / "walking").iterdir():
        video.rename(folder / "train" / video.name)
    assert len(KineticsDataset(folder, "train", 9, (64, 64))) == 6


def test_sources_and_check(folder: Path) -> None:
    source = parse_source({"kind": "kinetics", "folder": str(folder)})
    assert source.labels == {"class"} and source.class_names("class") == NAMES
    train, val = check(source, 4, (32, 32))
    assert (train.clips, train.readable, train.classes, train.covered) == (6, 6, {0, 1}, 0.0)
    assert (val.clips, val.readable, val.problems) == (2, 2, [])


def test_frames_are_counted_without_decoding(tmp_path: Path) -> None:
    for count in (1, 7):
        write_video(tmp_path / "a.mkv", np.zeros((count, 16, 16, 3), dtype=np.uint8))
        assert count_frames(tmp_path / "a.mkv") == count


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label,youtube_id,time_start\n", "no column time_end"),
        ("label,youtube_id,time_start,time_end\nyoga,a,x,2\n", "line 2: time_start 'x'"),
        ("label,youtube_id,time_start,time_end\nyoga,a,nan,2\n", "line 2: time_start 'nan'"),
        ("label,youtube_id,time_start,time_end\n../yoga,a,1,2\n", r"line 2: label '\.\./yoga'"),
        ("label,youtube_id,time_start,time_end\nsleeping,a,1,2\n", "line 2: class 'sleeping' is not one of train.csv"),
    ],
)
def test_bad_lists_are_named(folder: Path, text: str, words: str) -> None:
    (folder / "val.csv").write_text(text)
    with pytest.raises(BadFile, match=rf"val\.csv: {words}"):
        KineticsDataset(folder, "val", 4, (32, 32))


def test_what_cannot_be_read_is_named(folder: Path) -> None:
    with pytest.raises(BadFile, match="has 9 frames, a clip of 10 frames 1 apart needs 10"):
        KineticsDataset(folder, "val", 10, (32, 32))[0]
    video = next((folder / "val").rglob("*.mkv"))
    video.write_bytes(video.read_bytes()[:200])
    _, val = check(parse_source({"kind": "kinetics", "folder": str(folder)}), 4, (32, 32))
    assert val.readable == 1 and video.name in val.problems[0]
    (folder / "train.csv").unlink()
    with pytest.raises(BadFile, match=r"train\.csv: not a readable CSV"):
        KineticsDataset(folder, "train", 4, (32, 32))
    with pytest.raises(BadFile, match="no such folder"):
        KineticsDataset(folder / "none", "train", 4, (32, 32))
    with pytest.raises(UnsupportedInput, match="crops 2"):
        KineticsDataset(folder, "train", 4, (32, 32), crops=2)
