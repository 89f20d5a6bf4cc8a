"""CityScapes' and VSPW's layouts: what is written is read back, classes by number, and damage by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from svf_edge.data.check import check
from svf_edge.data.formats.cityscapes import CLASSES, CityscapesDataset, write_cityscapes
from svf_edge.data.formats.vspw import VspwDataset, write_vspw
from svf_edge.data.source import parse_source
from svf_edge.errors import BadFile, UnsupportedInput
from tests.data.rendered import Clips, assert_well_formed, rendered

SIZE = (64, 64)


@pytest.fixture
def town(tmp_path: Path) -> Path:
    return write_cityscapes(Clips([rendered()[i % 2] for i in range(5)]), tmp_path / "cityscapes")


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    return write_vspw(Clips([rendered()[i % 2] for i in range(5)]), tmp_path / "vspw")


def test_cityscapes_ends_with_the_labelled_picture(town: Path) -> None:
    train, val = CityscapesDataset(town, "train", 4, SIZE), CityscapesDataset(town, "val", 2, SIZE, step=3)
    assert (len(train), len(val), train.problems) == (4, 1, [])
    sample, clip = train[1], rendered()[1]
    assert_well_formed(sample, 4, 3, SIZE)
    assert torch.equal(sample["frames"], clip["frames"][5:])
    assert sample["mask"][:-1].eq(255).all() and torch.equal(sample["mask"][-1], clip["mask"][-1])
    assert len(sample["mask"][-1].unique()) > 3
    assert torch.equal(val[0]["frames"], clip["frames"][[5, 8]])


def test_cityscapes_label_ids_become_classes(town: Path) -> None:
    path = next((town / "gtFine" / "val").rglob("*.png"))
    ids = np.zeros(SIZE, dtype=np.uint8)
    ids[:32], ids[32:, :32] = 26, 4  # cars, and what is not evaluated
    Image.fromarray(ids).save(path)
    mask = CityscapesDataset(town, "val", 1, SIZE)[0]["mask"][0]
    assert mask[:32].eq(list(CLASSES).index("car")).all() and mask[32:].eq(255).all()
    small = CityscapesDataset(town, "val", 1, (16, 32))[0]["mask"][0]  # the middle half of the rows
    assert small.shape == (16, 32) and small[:8].eq(13).all() and small[8:].eq(255).all()


def test_vspw_reads_every_frame(scenes: Path) -> None:
    train = VspwDataset(scenes, "train", 3, SIZE)
    assert len(train) == 4 * 3 and not train.problems and train.group(0) == train.group(2) != train.group(3)
    sample, clip = train[1], rendered()[0]
    assert_well_formed(sample, 3, 3, SIZE)
    assert torch.equal(sample["mask"], clip["mask"][3:6])
    assert (sample["frames"].float() - clip["frames"][3:6].float()).abs().mean() < 8  # JPEG
    path = scenes / "data" / "3_rendered" / "mask" / "00000000.png"
    Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(SIZE).astype(np.uint8)).save(path)
    mask = VspwDataset(scenes, "val", 1, SIZE)[0]["mask"].flatten()[:256]
    assert mask[:2].tolist() == [255, 0] and mask[124:126].tolist() == [123, 255] and mask[255] == 255


@pytest.mark.parametrize(("kind", "classes"), [("cityscapes", 19), ("vspw", 124)])
def test_sources_and_check(town: Path, scenes: Path, kind: str, classes: int) -> None:
    source = parse_source({"kind": kind, "folder": str(town if kind == "cityscapes" else scenes)})
    assert source.labels == {"mask"} and len(source.class_names("mask")) == classes
    train, val = check(source, 3, (32, 32))
    assert train.readable == train.clips > 0 and val.clips > 0 and not train.problems + val.problems
    assert {0, 1, 2} < train.classes and 0.2 < train.covered <= 1


def test_what_is_missing_or_damaged_is_named(town: Path, scenes: Path) -> None:
    picture = town / "leftImg8bit_sequence" / "train" / "town" / "town_000001_000008_leftImg8bit.png"
    picture.unlink()
    found = CityscapesDataset(town, "train", 2, SIZE)
    assert len(found) == 3
    assert found.problems == [f"pictures of 1 masks of split 'train' are missing: {picture.name}"]
    mask = next((town / "gtFine" / "val").rglob("*.png"))
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(mask)
    with pytest.raises(BadFile, match=rf"{mask.name}: 8x8 pixels, .* has 64x64"):
        CityscapesDataset(town, "val", 2, SIZE)[0]
    Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8)).save(mask)
    with pytest.raises(BadFile, match=rf"{mask.name}: an image of mode RGB; a mask has one channel"):
        CityscapesDataset(town, "val", 2, SIZE)[0]
    mask.write_bytes(b"no picture")
    with pytest.raises(BadFile, match=rf"{mask.name}: not a readable image"):
        CityscapesDataset(town, "val", 2, SIZE)[0]
    (scenes / "data" / "0_rendered" / "mask" / "00000004.png").unlink()
    assert "1 frames without a mask or masks without a frame: 4" in VspwDataset(scenes, "train", 2, SIZE).problems[0]
    (scenes / "val.txt").write_text("../elsewhere\n")
    with pytest.raises(BadFile, match=r"val\.txt: '\.\./elsewhere' leads out"):
        VspwDataset(scenes, "val", 2, SIZE)
    (scenes / "val.txt").unlink()
    with pytest.raises(BadFile, match=r"val\.txt: not readable"):
        VspwDataset(scenes, "val", 2, SIZE)
    for reader in (CityscapesDataset, VspwDataset):
        with pytest.raises(UnsupportedInput, match="step 0"):
            reader(town, "train", 2, SIZE, step=0)
