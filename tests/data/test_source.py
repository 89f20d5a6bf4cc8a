import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from svf_edge.data import source as source_module
from svf_edge.data.cache import render_cache
from svf_edge.data.events import EventClips, simulate_events
from svf_edge.data.formats.cityscapes import write_cityscapes
from svf_edge.data.formats.coco import write_coco
from svf_edge.data.formats.dhp19 import write_dhp19
from svf_edge.data.formats.eventhpe import write_eventhpe
from svf_edge.data.formats.kinetics import write_kinetics
from svf_edge.data.formats.mmhpsd import write_mmhpsd
from svf_edge.data.formats.vspw import write_vspw
from svf_edge.data.sample import stack_samples, stretch
from svf_edge.data.shards import Description, write_shards
from svf_edge.data.source import KINDS, Passes, Varied, parse_source
from svf_edge.data.synthetic import SyntheticPoseDataset
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.model.config import model_config
from svf_edge.model.network import SpikeVideoFormer
from tests.data.rendered import Clips, assert_well_formed, rendered

SIZE = (64, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of data set."""
    folder = tmp_path_factory.mktemp("sources")
    write_coco(rendered(), folder / "coco")
    write_mmhpsd(rendered(), folder / "mmhpsd")
    write_eventhpe(rendered(), folder / "eventhpe")
    write_dhp19(rendered(), folder / "dhp19")
    four = Clips([{**rendered()[i % 2], "label": torch.tensor(i % 2)} for i in range(4)])  # the fourth validates
    write_kinetics(four, folder / "kinetics", ("walk", "run"))
    write_cityscapes(four, folder / "cityscapes")
    write_vspw(four, folder / "vspw")
    cut = Description(
        frames=9,
        height=64,
        width=64,
        per_shard=2,
        quality=95,
        clips={"train": 2, "val": 2},
        source={"kind": "synthetic"},
    )
    write_shards({"train": rendered(), "val": rendered()}, folder / "shards", cut)
    for split in ("train", "val"):
        render_cache(folder / "cached" / split, SyntheticPoseDataset(split, 3, 4, SIZE), progress=False)
    return folder


def entries(folder: Path, kind: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": kind}
    if kind != "synthetic":
        found["folder"] = str(folder / kind)
    if kind == "coco":
        found |= {"folder": str(folder / "coco/videos"), "annotations": str(folder / "coco/annotations.json")}
        found["val_annotations"] = found["annotations"]
    return found | more


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", ["train", "val"])
def test_every_kind_opens_as_it_says(folder: Path, kind: str, split: str) -> None:
    source = parse_source(entries(folder, kind))
    data = source.open(split, 4, SIZE, seed=1)
    assert len(data) >= 1  # type: ignore[arg-type]
    assert_well_formed(data[0], 4, source.channels, SIZE)
    assert data[0]["frames"].float().std() > 0.05
    assert (source.input == "pixels") == (source.channels == 3)
    model = model_config("tiny", frames=4, frame_size=SIZE, channels=source.channels, input=source.input)
    network = SpikeVideoFormer(model)
    with torch.no_grad():
        scores = network(data[0]["frames"][None])
    assert scores.isfinite().all() and scores.std() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_of_clips_repeats_what_is_there_in_new_orders(folder: Path, kind: str) -> None:
    source = parse_source(entries(folder, kind))
    there = len(source.open("train", 2 if kind != "cached" else 4, SIZE))  # type: ignore[arg-type]
    frames = 4 if kind == "cached" else 2
    wanted = 3 * there + 1 if kind != "synthetic" else 5
    data = source.open("train", frames, SIZE, seed=3, clips=wanted)
    assert len(data) == wanted  # type: ignore[arg-type]
    again = source.open("train", frames, SIZE, seed=3, clips=wanted + 20)
    for index in (wanted - 1, 0):
        assert torch.equal(data[index]["frames"], again[index]["frames"])
    with pytest.raises(IndexError):
        data[wanted]
    some = source.open("val", frames, SIZE, clips=1)
    assert len(some) == 1  # type: ignore[arg-type]
    with pytest.raises(UnsupportedInput, match=r"0 clips|length 0"):
        source.open("train", frames, SIZE, clips=0)


def test_a_pass_shows_every_clip_once() -> None:
    clips = SyntheticPoseDataset("train", 7, 1, (16, 16))
    passes = Passes(clips, 21, seed=2)
    keys = [float(passes[index]["joints"].sum()) for index in range(21)]
    turns = [keys[0:7], keys[7:14], keys[14:21]]
    assert len(set(keys)) == 7 and all(len(set(turn)) == 7 for turn in turns)
    assert turns[0] != turns[1] != turns[2]
    assert keys == [float(passes[index]["joints"].sum()) for index in range(21)]


def test_real_pixels_vary_in_training_only(folder: Path) -> None:
    source = parse_source(entries(folder, "coco"))
    plain = parse_source(entries(folder, "coco", vary=False))
    twice = source.open("train", 3, SIZE, clips=12)
    shown = {float(twice[index]["frames"].float().sum()) for index in range(12)}
    assert len(shown) == 12
    assert len({float(clip["frames"].float().sum()) for clip in plain.open("train", 3, SIZE, clips=12)}) == 6  # type: ignore[attr-defined]
    assert torch.equal(source.open("val", 3, SIZE)[1]["frames"], plain.open("val", 3, SIZE)[1]["frames"])


def test_events_of_pixels_take_one_frame_more(folder: Path) -> None:
    import numpy as np

    camera = {"threshold": 0.2, "slices": 2}
    for kind in ("synthetic", "coco"):
        source = parse_source(entries(folder, kind, events=camera))
        assert (source.channels, source.input) == (4, "events")
        data = source.open("val", 4, SIZE, seed=2)
        assert isinstance(data, EventClips)
        pixels = parse_source(entries(folder, kind)).open("val", 5, SIZE, seed=2)
        expected = simulate_events(pixels[0]["frames"].numpy(), data.camera, np.random.default_rng([2, 0]))
        np.testing.assert_array_equal(data[0]["frames"].numpy(), expected)
        torch.testing.assert_close(data[0]["joints"], pixels[0]["joints"][1:])
        assert (expected > 0).mean() > 0.001


def test_synthetic_clips_are_those_of_the_generator() -> None:
    source = parse_source({"kind": "synthetic"})
    direct = SyntheticPoseDataset("train", 50, 2, SIZE, seed=9)
    opened = source.open("train", 2, SIZE, seed=9, clips=50)
    assert torch.equal(opened[31]["frames"], direct[31]["frames"])


def test_a_cache_of_other_clips_is_named(folder: Path) -> None:
    source = parse_source(entries(folder, "cached"))
    with pytest.raises(
        UnsupportedInput, match=r"cached.train: holds clips of split 'train' of 4 frames of 64x64, motions 'split', and"
    ):
        source.open("train", 5, SIZE)
    with pytest.raises(UnsupportedInput, match="data split 'test'"):
        source.open("test", 4, SIZE)
    with pytest.raises(BadFile, match=r"identity\.json"):
        parse_source({"kind": "cached", "folder": str(folder / "gone")}).open("train", 4, SIZE)


def test_loader_workers_give_the_same_clips(folder: Path) -> None:
    data = parse_source(entries(folder, "dhp19")).open("train", 2, SIZE, clips=6)
    alone = list(DataLoader(data, batch_size=3))
    shared = list(DataLoader(data, batch_size=3, num_workers=1, multiprocessing_context="fork"))
    for a, b in zip(alone, shared, strict=True):
        assert torch.equal(a["frames"], b["frames"]) and torch.equal(a["joints3d"], b["joints3d"])


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({}, "data: kind: Unable to extract tag"),
        ({"kind": "charades"}, "data: kind: .*'charades'.*'mmhpsd'"),
        ({"kind": "coco", "folder": "x"}, "data: coco.annotations: Field required"),
        ({"kind": "dhp19", "folder": "x", "camera": 4}, r"data: dhp19.camera: .*less than or equal to 3 \(got 4\)"),
        ({"kind": "mmhpsd", "folder": "x", "gap": 2}, "data: mmhpsd.gap: Extra inputs are not permitted"),
        ({"kind": "synthetic", "events": {"threshold": 0}}, "data: synthetic.events.threshold"),
    ],
)
def test_bad_entries_are_named(bad: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UnsupportedInput, match=sentence):
        parse_source(bad)


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips are rendered here, not in other processes."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})


def rendering(folder: Path, **more: Any) -> dict[str, Any]:
    return {"kind": "cached", "folder": str(folder), "length": 3, "frames": 4, **more}


def test_missing_clips_are_rendered_once(one_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the seed they are opened with; who opens the same source again renders nothing."""
    small = (32, 32)
    source = parse_source(rendering(tmp_path, vary=False))
    opened = source.open("train", 4, small, seed=5)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.parent.name for path in files} == {"train"} and len(files) == 2
    direct = SyntheticPoseDataset("train", 3, 4, small, seed=5)
    for index in range(3):
        assert torch.equal(opened[index]["frames"], direct[index]["frames"])
        assert torch.equal(opened[index]["joints"], direct[index]["joints"])

    def refuse(*_: object) -> None:
        raise AssertionError("a clip was rendered again")

    monkeypatch.setattr(SyntheticPoseDataset, "render", refuse)
    again = parse_source(rendering(tmp_path, vary=False)).open("train", 1, small, seed=5)
    assert torch.equal(again[2]["frames"], opened[2]["frames"][:1])
    assert {path: path.stat().st_mtime_ns for path in files} == files
    with pytest.raises(UnsupportedInput, match="the folder holds other clips"):
        source.open("train", 4, small, seed=6)


def test_longer_clips_than_are_rendered_are_refused(tmp_path: Path) -> None:
    """Before anything is rendered: a run asks for its longest clips first, and for single frames later."""
    with pytest.raises(UnsupportedInput, match=r"frames: clips of 4 .* and 5 are asked for; set frames to 5"):
        parse_source(rendering(tmp_path, events={})).open("train", 4, (32, 32))
    assert not list(tmp_path.iterdir())


def test_validation_clips_are_rendered_beside_and_cut_at_the_front(one_process: None, tmp_path: Path) -> None:
    source = parse_source(rendering(tmp_path, length=2))
    source.open("train", 1, (32, 32))
    data = source.open("val", 2, (32, 32), clips=5)
    assert {path.name for path in tmp_path.iterdir()} == {"train", "val"}
    direct = SyntheticPoseDataset("val", 2, 4, (32, 32))
    assert len(data) == 2  # type: ignore[arg-type]
    for index in range(2):
        assert_well_formed(data[index], 2, 3, (32, 32))
        assert torch.equal(data[index]["frames"], direct[index]["frames"][:2])
        assert torch.equal(data[index]["joints3d"], direct[index]["joints3d"][:2])


def test_single_frames_are_taken_from_anywhere_in_a_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one depends on the item and the seed alone; the labels are those of that frame."""
    clips = rendered()
    monkeypatch.setattr(source_module, "augment", lambda clip, _: clip)
    data = Varied(Passes(clips, 40, seed=1), 1, seed=2)
    begins = []
    for index in range(len(data)):
        clip = data[index]
        assert_well_formed(clip, 1, 3, SIZE)
        whole = data.clips[index]
        (found,) = [t for t in range(9) if torch.equal(whole["joints"][t], clip["joints"][0])]
        assert torch.equal(whole["frames"][found], clip["frames"][0])
        assert torch.equal(whole["visible"][found], clip["visible"][0]) and whole["label"] == clip["label"]
        assert torch.equal(whole["joints3d"][found], clip["joints3d"][0])
        begins.append(found)
    assert len(set(begins)) >= 7
    same, other = (Varied(data.clips, 1, seed) for seed in (2, 3))
    assert all(torch.equal(same[index]["joints"], data[index]["joints"]) for index in range(10))
    assert not all(torch.equal(other[index]["joints"], data[index]["joints"]) for index in range(10))


def test_variations_of_a_whole_clip_change_with_the_item() -> None:
    data = Varied(Passes(rendered(), 8, seed=1), 9, seed=2)
    assert len({float(data[index]["frames"].float().sum()) for index in range(8)}) == 8
    assert_well_formed(data[7], 9, 3, SIZE)


def test_stretches_of_clips_and_of_stacks() -> None:
    clips = rendered()
    part = stretch(clips[1], 2, 5)
    assert_well_formed(part, 3, 3, SIZE)
    stacked = stretch(stack_samples(clips), 2, 5)
    assert stacked["frames"].shape == (2, 3, 3, *SIZE) and stacked["label"].shape == (2,)
    for name in ("frames", "joints", "visible", "joints3d"):
        assert torch.equal(stacked[name][1], part[name])
        assert torch.equal(clips[1][name][2:5], part[name])
