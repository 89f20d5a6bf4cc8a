from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from svf_edge.data.skeleton import NUM_JOINTS
from svf_edge.data.video import read_frames
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.program import load_program
from svf_edge.runtimes.tracking import PoseTracker
from svf_edge.runtimes.tracking.shipped_bundle import shipped_bundle
from svf_edge.shipped import CLIP, PROGRAM
from tests.runtimes.bundles import rewrite


@pytest.fixture(scope="module")
def walk() -> list[np.ndarray]:
    return list(read_frames(CLIP, range(40)).transpose(0, 2, 3, 1))


def test_a_person_is_followed_through_a_larger_picture(tracker: PoseTracker, walk: list[np.ndarray]) -> None:
    """The clip slides over a wide grey picture; the joints slide with it."""
    centres, boxes = [], []
    for index, frame in enumerate(walk):
        wide = np.full((256, 560, 3), 128, np.uint8)
        left = 100 + 5 * index
        wide[:, left : left + 256] = frame
        points, scores = tracker(wide)
        assert points.shape == (NUM_JOINTS, 2) and points.dtype == np.float32
        assert scores.shape == (NUM_JOINTS,) and scores.dtype == np.float32
        centres.append(points.mean(axis=0)[0] - left)
        boxes.append(tracker.box.centre[0])
    assert tracker.found
    assert boxes[-1] - boxes[0] > 100  # the middle of the picture would not do
    assert np.std(centres[5:]) < 10 and 90 < np.mean(centres[5:]) < 160


def test_a_still_picture_gives_joints_that_stand_still(tracker: PoseTracker, walk: list[np.ndarray]) -> None:
    seen = [tracker(walk[0])[0] for _ in range(40)]
    assert tracker.found and tracker.box.side < 256  # it had to settle
    assert all((points == seen[-1]).all() for points in seen[25:])


def test_a_tracker_has_its_own_state_and_forgets_on_reset(shipped: Bundle, walk: list[np.ndarray]) -> None:
    one, two = PoseTracker(shipped), PoseTracker(shipped)
    expected = [one(frame) for frame in walk[:8]]
    other = [frame[:, ::-1] for frame in walk[20:28]]
    one.reset()
    for index in range(8):
        two(other[index])
        points, scores = one(walk[index])
        np.testing.assert_array_equal(points, expected[index][0])
        np.testing.assert_array_equal(scores, expected[index][1])


def test_another_resolution_begins_anew(shipped: Bundle, walk: list[np.ndarray]) -> None:
    tracker, fresh = PoseTracker(shipped), PoseTracker(shipped)
    for frame in walk[:4]:
        tracker(frame[:200])
    for frame in walk[4:7]:
        for ours, theirs in zip(tracker(frame), fresh(frame), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 500, 3), (500, 2, 3)])
def test_every_size_of_picture_is_taken(tracker: PoseTracker, shape: tuple[int, int, int]) -> None:
    points, scores = tracker(np.zeros(shape, np.uint8))
    assert np.isfinite(points).all() and np.isfinite(scores).all()


@pytest.mark.parametrize("frame", [np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)])
def test_what_is_no_picture_is_refused(tracker: PoseTracker, frame: np.ndarray) -> None:
    with pytest.raises(UnsupportedInput, match="RGB frames uint8"):
        tracker(frame)


def test_models_that_cannot_be_tracked_are_named(shipped: Bundle, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="does not record the model"):
        PoseTracker(bundle)
    program = load_program(PROGRAM)
    meta = {"model": {**program.meta["model"], "head": {"kind": "classification"}}}
    copy = write_bundle(program.with_meta(**meta), tmp_path / "classes", {}, targets=())
    with pytest.raises(UnsupportedInput, match="classification head"):
        PoseTracker(copy)
    few = copy.manifest.model_copy(update={"model": {"model": {"head": {"kind": "pose", "joints": 12}}}})
    with pytest.raises(UnsupportedInput, match="12 joints"):
        PoseTracker(rewrite(tmp_path / "classes", few))


def test_the_shipped_model_is_exported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    first = shipped_bundle(said.append)
    assert said and first.folder.parent == tmp_path / "svf-edge"
    written = (first.folder / "manifest.json").stat().st_mtime_ns
    assert shipped_bundle(pytest.fail).folder == first.folder
    (first.folder / "onnx" / "packed.onnx").write_bytes(b"damaged")
    assert shipped_bundle().folder == first.folder
    assert (first.folder / "manifest.json").stat().st_mtime_ns > written
    with av.open(str(CLIP)) as video:
        frame = next(video.decode(video=0)).to_ndarray(format="rgb24")
    assert PoseTracker(first.folder)(frame)[1].mean() > 0.5
