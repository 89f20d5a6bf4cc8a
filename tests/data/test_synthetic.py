import hashlib

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from svf_edge.data import synthetic
from svf_edge.data.mocap import MOTION_NAMES
from svf_edge.data.person import PART_CLASSES
from svf_edge.data.render import Camera, Layer, rasterise
from svf_edge.data.sample import Sample
from svf_edge.data.skeleton import FLIP_ORDER, FLIP_PAIRS, JOINT_NAMES, SKELETON
from svf_edge.data.synthetic import SPLITS, SyntheticPoseDataset
from svf_edge.errors import UnsupportedInput


def digest(clips: list[Sample]) -> str:
    total = hashlib.sha256()
    for clip in clips:
        for name in ("frames", "joints", "visible", "joints3d", "label"):
            total.update(clip[name].numpy().tobytes())
    return total.hexdigest()


def test_skeleton_is_consistent() -> None:
    assert len(set(JOINT_NAMES)) == 13
    assert {j for edge in SKELETON for j in edge} == set(range(13))
    for left, right in FLIP_PAIRS:
        assert JOINT_NAMES[left].removeprefix("left_") == JOINT_NAMES[right].removeprefix("right_")
        assert FLIP_ORDER[left] == right
        assert FLIP_ORDER[right] == left


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_shapes_and_types(size: tuple[int, int]) -> None:
    clip = SyntheticPoseDataset("train", 3, frames=5, size=size)[2]
    assert clip["frames"].shape == (5, 3, *size)
    assert clip["frames"].dtype == torch.uint8
    assert clip["joints"].shape == (5, 13, 2)
    assert clip["joints"].dtype == torch.float32
    assert clip["visible"].shape == (5, 13)
    assert clip["visible"].dtype == torch.bool
    assert 10 < clip["frames"].float().mean() < 245
    assert clip["frames"].float().std() > 5


def test_a_clip_depends_on_split_seed_and_index_alone() -> None:
    data = SyntheticPoseDataset("train", 6, seed=5)
    clips = [data[i] for i in range(6)]
    again = SyntheticPoseDataset("train", 60, seed=5)
    assert digest([again[i] for i in range(5, -1, -1)][::-1]) == digest(clips)
    others = [
        digest([SyntheticPoseDataset("train", 6, seed=6)[0]]),
        digest([SyntheticPoseDataset("val", 6, seed=5)[0]]),
        digest([data[1]]),
    ]
    assert len({digest([data[0]]), *others}) == 4


def test_loader_workers_do_not_change_the_bytes() -> None:
    data = SyntheticPoseDataset("val", 8, frames=2)
    alone = list(DataLoader(data, batch_size=4))
    shared = list(DataLoader(data, batch_size=4, num_workers=2, multiprocessing_context="spawn"))
    assert digest(alone) == digest(shared)


def test_joints_lie_on_the_drawn_person(monkeypatch: pytest.MonkeyPatch) -> None:
    layers: list[Layer] = []
    real = rasterise

    def spy(*arguments: object) -> Layer:
        layers.append(real(*arguments))  # type: ignore[arg-type]
        return layers[-1]

    monkeypatch.setattr("svf_edge.data.synthetic.rasterise", spy)
    covered, areas, inside = [], [], []
    for split in synthetic.SPLITS:
        data = SyntheticPoseDataset(split, 40, frames=2)
        for index in range(len(data)):
            clip = data[index]
            drawn = torch.from_numpy(layers[-1].coverage())
            coverage = drawn.reshape(2, -1, 64, 64).amax(dim=1)  # a blurred frame is the mean of two pictures
            pixel = clip["joints"].long().clamp(0, 63)
            frame = torch.arange(2)[:, None]
            on_person = coverage[frame, pixel[..., 1], pixel[..., 0]] > 0
            covered.append(on_person[clip["visible"]].float())
            areas.append(float(coverage.mean()))
            inside.append(float(clip["visible"].float().mean()))
    assert torch.cat(covered).mean() > 0.995  # a shoulder may lie on the edge of thin clothes
    assert 0.03 < np.median(areas) < 0.4
    assert np.mean(inside) > 0.9


def test_drawing_the_person_changes_the_picture_at_the_head() -> None:
    data = SyntheticPoseDataset("train", 30, frames=1)
    change = []
    for index in range(30):
        clip = data[index]
        empty = _without_person(data, index)
        difference = (clip["frames"].float() - empty.float()).abs().mean(dim=1)[0]
        x, y = clip["joints"][0, 0].long().clamp(0, 63)
        if clip["visible"][0, 0]:
            change.append(float(difference[y, x]) > 3 * float(difference.median()) + 3)
    assert len(change) > 15
    assert np.mean(change) > 0.8  # some people are dressed like what is behind them


def _without_person(data: SyntheticPoseDataset, index: int) -> torch.Tensor:
    real = rasterise

    def nobody(*arguments: object) -> Layer:
        layer = real(*arguments)  # type: ignore[arg-type]
        keep = layer.pixel[:0]
        return Layer(layer.shape, 0, keep, layer.colour[:0], layer.alpha[:0], keep)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("svf_edge.data.synthetic.rasterise", nobody)
        return data[index]["frames"]


def test_motion_is_continuous_and_not_still() -> None:
    data = SyntheticPoseDataset("train", 40, frames=8)
    steps = np.stack([np.linalg.norm(np.diff(data.render(i).joints, axis=0), axis=-1) for i in range(40)])
    assert np.median(steps) > 0.3
    assert np.quantile(steps, 0.99) < 14
    jerk = np.abs(np.diff(steps, axis=1))
    assert np.median(jerk) < np.median(steps)


def test_people_vary_in_scale_and_side() -> None:
    data = SyntheticPoseDataset("train", 60, frames=1)
    joints = np.stack([data.render(i).joints[0] for i in range(60)])
    height = np.ptp(joints[..., 1], axis=1)
    assert np.quantile(height, 0.9) > 1.5 * np.quantile(height, 0.1)
    left_is_right_of_right = joints[:, 1, 0] > joints[:, 2, 0]
    assert 0.25 < left_is_right_of_right.mean() < 0.75
    head_up = joints[:, 0, 1] < joints[:, [7, 8], 1].mean(axis=1)
    assert head_up.mean() > 0.6


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (("test", 4), "'test'"),
        (("train", 0), "length 0"),
        (("train", 1, 0), "frames 0"),
        (("val", 1, 1, (4, 64)), "4x64"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[object, ...], needle: str) -> None:
    with pytest.raises(UnsupportedInput, match=needle):
        SyntheticPoseDataset(*arguments)  # type: ignore[arg-type]


def test_index_outside_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        SyntheticPoseDataset("val", 2)[2]


def test_camera_projects_by_hand() -> None:
    camera = Camera(np.array([10], np.float32), np.array([[32, 16]], np.float32))
    np.testing.assert_allclose(camera.project(np.array([[[1, -2, 5]]], np.float32)), [[[34, 12]]])


def test_masks_lie_on_the_person() -> None:
    """Joints that are seen lie on their part, nearly always: a neighbour's capsule may be the foremost there."""
    parts = {"head": "head", "elbow": "arm", "wrist": "arm", "knee": "leg", "ankle": "leg"}
    data = SyntheticPoseDataset("val", 40, frames=1, size=(96, 96))
    hits: list[bool] = []
    for clip in (data[i] for i in range(40)):
        for joint, name in enumerate(JOINT_NAMES):
            part = parts.get(name.removeprefix("left_").removeprefix("right_"))
            if part is not None and clip["visible"][0, joint]:
                x, y = clip["joints"][0, joint].long()
                pixel = int(clip["mask"][0, y, x])
                hits.append(pixel == 255 or part in PART_CLASSES[pixel])
    assert len(hits) > 200 and sum(hits) / len(hits) > 0.75
    covered = torch.stack([data[i]["mask"] for i in range(40)])
    assert all((covered == index).any() for index in range(len(PART_CLASSES)))


def test_clips_of_named_motions() -> None:
    """All motions in both splits, every clip under its name, and other clips in each."""
    train, val = (SyntheticPoseDataset(split, 300, frames=1, size=(16, 16), motions="classes") for split in SPLITS)
    labels = [int(train[i]["label"]) for i in range(120)]
    assert set(labels) <= set(range(len(MOTION_NAMES))) and len(set(labels)) > 15
    assert max(labels.count(label) for label in set(labels)) < 20
    assert not any(torch.equal(train[i]["frames"], val[i]["frames"]) for i in range(10))
