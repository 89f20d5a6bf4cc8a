"""Shards: the clips that went in, by number and by other readers, and what is said of damaged ones."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from svf_edge.cli import build_app
from svf_edge.data.sample import stack_samples
from svf_edge.data.shards import Description, ShardDataset, write_shards
from svf_edge.data.source import parse_source
from svf_edge.errors import BadFile, UnsupportedInput
from tests.data.rendered import Clips, rendered

FIVE = Clips([rendered()[index % 2] for index in range(5)])


def description(**changes: object) -> Description:
    entries = {"frames": 9, "height": 64, "width": 64, "per_shard": 2, "quality": 95, "source": {"kind": "test"}}
    return Description.model_validate({**entries, "clips": {"train": 5, "val": 2}, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    assert write_shards({"train": FIVE, "val": rendered()}, folder, description()) == 4
    return folder


def test_clips_come_back(folder: Path) -> None:
    data = ShardDataset(folder, "train")
    assert (len(data), len(ShardDataset(folder, "val"))) == (5, 2)
    for index in (4, 0, 3):
        found, wanted = data[index], FIVE[index]
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            assert isinstance(value, torch.Tensor)
            if name != "frames":
                torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True)  # type: ignore[literal-required]
        away = (found["frames"].float() - wanted["frames"].float()).abs()
        assert found["frames"].dtype == torch.uint8 and away.mean() < 3
    again = pickle.loads(pickle.dumps(data))  # as for a worker process
    assert torch.equal(again[4]["frames"], data[4]["frames"])
    with pytest.raises(IndexError):
        data[5]


def test_other_readers_find_ordinary_tar_files(folder: Path) -> None:
    with tarfile.open(folder / "train-00001.tar") as tar:
        names = tar.getnames()
        assert names == ["00000002.jpg", "00000002.npz", "00000003.jpg", "00000003.npz"]
        content = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]
    assert Image.open(io.BytesIO(content["00000003.jpg"])).size == (64, 9 * 64)
    with np.load(io.BytesIO(content["00000003.npz"]), allow_pickle=False) as labels:
        np.testing.assert_array_equal(labels["joints"], FIVE[3]["joints"])


def test_parts_and_interruptions_make_the_same_files(folder: Path, tmp_path: Path) -> None:
    clips = {"train": FIVE, "val": rendered()}
    assert [write_shards(clips, tmp_path, description(), (i, 3)) for i in (2, 0, 1)] == [1, 2, 1]
    (tmp_path / "train-00001.index.npy").unlink()  # killed between a shard and its index
    assert write_shards(clips, tmp_path, description()) == 1
    assert write_shards(clips, tmp_path, description()) == 0
    for path in folder.iterdir():
        if path.suffix == ".tar":
            assert len(path.read_bytes()) == len((tmp_path / path.name).read_bytes())
        else:
            assert path.read_bytes() == (tmp_path / path.name).read_bytes()
    with pytest.raises(UnsupportedInput, match=r"holds other clips \(quality differ\)"):
        write_shards(clips, tmp_path, description(quality=80))


def test_damage_is_named(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shard = tmp_path / "train-00001.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 255
    shard.write_bytes(content)
    data = ShardDataset(tmp_path, "train")
    with pytest.raises(BadFile, match=r"train-00001.tar: clip 2 is damaged"):
        data[2]
    assert data[3]["frames"].any()
    shard.write_bytes(content[:1000])
    with pytest.raises(BadFile, match="shorter than its index says"):
        ShardDataset(tmp_path, "train")
    shard.unlink()
    with pytest.raises(BadFile, match=r"train-00001.tar: missing; cut the clips to the end"):
        ShardDataset(tmp_path, "train")
    (tmp_path / "val-00000.index.npy").write_bytes(b"x")
    with pytest.raises(BadFile, match=r"val-00000.index.npy: missing or damaged"):
        ShardDataset(tmp_path, "val")
    (tmp_path / "shards.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(BadFile, match=r"shards.json: missing, or no description"):
        ShardDataset(tmp_path, "val")


def test_as_a_source(folder: Path) -> None:
    source = parse_source({"kind": "shards", "folder": str(folder)})
    clips = source.open("train", 4, (64, 64), 0, 12)
    assert len(clips) == 12  # type: ignore[arg-type]
    assert clips[11]["frames"].shape == (4, 3, 64, 64)
    fixed = source.open("val", 4, (64, 64), 0)
    assert torch.equal(fixed[0]["frames"], ShardDataset(folder, "val")[0]["frames"][:4])
    with pytest.raises(UnsupportedInput, match="10 of 64x64 are asked for"):
        source.open("train", 10, (64, 64), 0)


def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [
        "data",
        "shard",
        "synthetic",
        "-",
        str(out),
        "--option",
        "length=3",
        "--frames",
        "2",
        "--size",
        "32x32",
    ]
    result = CliRunner().invoke(build_app(), [*arguments, "--per-shard", "2"])
    assert result.exit_code == 0, result.output
    assert "4 of 4 shards written, 3 train and 3 val clips" in result.output
    assert stack_samples(ShardDataset(out, "val"))["frames"].shape == (3, 2, 3, 32, 32)
    result = CliRunner().invoke(build_app(), ["data", "check", "shards", str(out), "--frames", "2", "--size", "32x32"])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(build_app(), [*arguments, "--part", "2/2"])
    assert isinstance(result.exception, UnsupportedInput) and "--part 2/2" in str(result.exception)
