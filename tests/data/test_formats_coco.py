import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from svf_edge.data.formats.coco import CocoDataset, in_validation, write_coco
from svf_edge.data.formats.labels import UNLABELLED, by_name
from svf_edge.data.formats.region import OUTSIDE, Region, resize_events
from svf_edge.data.skeleton import FLIP_ORDER, JOINT_NAMES
from svf_edge.errors import BadFile, UnsupportedInput
from tests.data.rendered import assert_well_formed, rendered

COCO_NAMES = [
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
]

Document = dict[str, Any]


@pytest.fixture(scope="module", params=["videos", "images"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coco")
    media, annotations = write_coco(rendered(), folder, images=request.param == "images")
    assert media.name == request.param and annotations == folder / "annotations.json"
    media.rename(folder / "media")
    return folder


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "set"))


def opened(folder: Path, split: str = "train", **options: Any) -> CocoDataset:
    defaults = {"frames": 3, "size": (64, 64), "val_share": 0.0}
    return CocoDataset(folder / "media", folder / "annotations.json", split, **(defaults | options))


def edit(folder: Path, change: Callable[[Document], None]) -> None:
    path = folder / "annotations.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def whole_frame(document: Document) -> None:
    for annotation in document["annotations"]:
        annotation["bbox"] = [0, 0, 64, 64]


def test_a_written_clip_reads_back(copy: Path) -> None:
    edit(copy, whole_frame)
    data = opened(copy, frames=9, margin=0.0)
    assert len(data) == 2 and data.problems == []
    for index in range(2):
        sample, clip = data[index], rendered()[index]
        assert_well_formed(sample, 9, 3, (64, 64))
        assert torch.equal(sample["frames"], clip["frames"])
        assert torch.equal(sample["visible"], clip["visible"])
        labelled = sample["joints"][..., 0] != UNLABELLED
        assert labelled.sum() > 60
        torch.testing.assert_close(sample["joints"][labelled], clip["joints"][labelled])
        assert (labelled | ~clip["visible"]).all()
        assert sample["joints3d"].isnan().all() and sample["label"] == -1


def test_the_crop_follows_the_person_and_stays_for_the_clip(written: Path) -> None:
    sample, clip = opened(written, frames=4, size=(48, 32), margin=0.2)[0], rendered()[0]
    assert_well_formed(sample, 4, 3, (48, 32))
    labelled = (sample["joints"][..., 0] != UNLABELLED) & clip["visible"][:4]
    there, here = sample["joints"][labelled], clip["joints"][:4][labelled]
    scale = (there - there.mean(0)).abs().sum(0) / (here - here.mean(0)).abs().sum(0)
    assert abs(scale[0] / scale[1] - 1) < 0.05  # the aspect ratio is kept, but for whole pixels
    torch.testing.assert_close(there, (here - here.mean(0)) * scale + there.mean(0), atol=1e-3, rtol=0)
    assert there[:, 0].min() > 32 * 0.1 and there[:, 0].max() < 32 * 0.9
    assert abs(float(there.amax(0)[1] + there.amin(0)[1]) / 2 - 24) < 2


def test_windows_steps_mirrors_and_names(written: Path) -> None:
    assert len(opened(written)) == 6 and len(opened(written, stride=1)) == 14
    stepped = opened(written, frames=3, step=4)
    assert len(stepped) == 2
    assert stepped.name(0) in ("clip0000.mkv frames 0 to 8", "clip0000/000000.png to 000008.png")
    both = opened(written, mirror=True)
    plain, mirrored = both[1], both[7]
    assert torch.equal(mirrored["frames"], plain["frames"].flip(-1))
    assert torch.equal(mirrored["visible"], plain["visible"][:, FLIP_ORDER])
    labelled = plain["joints"][..., 0] != UNLABELLED
    flipped = plain["joints"].clone()
    flipped[..., 0] = torch.where(labelled, 64 - flipped[..., 0], flipped[..., 0])
    torch.testing.assert_close(mirrored["joints"], flipped[:, FLIP_ORDER])


def test_a_video_is_on_one_side_of_the_split(written: Path) -> None:
    names = [f"clip{index:04d}.mp4" for index in range(1000)]
    assert 0.15 < np.mean([in_validation(name, 0.2) for name in names]) < 0.25
    assert not any(in_validation(name, 0.0) for name in names) and all(in_validation(name, 1.0) for name in names)
    assert all(in_validation(name, 0.5) for name in names if in_validation(name, 0.2))
    assert len(opened(written, "val", val_share=1.0)) == 6
    with pytest.raises(BadFile, match="no clip of 3 frames for split 'val'"):
        opened(written, "val")


def test_names_decide_which_joint_is_which(copy: Path) -> None:
    before = opened(copy)[0]

    def coco17(document: Document) -> None:
        names = ["nose" if name == "head" else name for name in JOINT_NAMES]
        order = [names.index(name) if name in names else None for name in COCO_NAMES]
        document["categories"] = [{"keypoints": COCO_NAMES}]
        for annotation in document["annotations"]:
            points = np.array(annotation["keypoints"]).reshape(13, 3)
            rows = [points[k] if k is not None else np.array([5.0, 5.0, 0.0]) for k in order]
            annotation["keypoints"] = np.concatenate(rows).tolist()

    edit(copy, coco17)
    after = opened(copy)[0]
    assert torch.equal(before["joints"], after["joints"]) and torch.equal(before["frames"], after["frames"])
    assert by_name([name.upper().replace("_", "-") for name in JOINT_NAMES], copy) == list(range(13))
    assert by_name([name.replace("left_", "L ").replace("right_", "R ") for name in JOINT_NAMES], copy) == list(
        range(13)
    )
    assert by_name(["nose", *JOINT_NAMES], copy) == list(range(1, 14))  # a head goes ahead of a nose
    with pytest.raises(BadFile, match=r"named 'left_wrist'; rename 'left_wrst' if it is the same"):
        by_name([name.replace("left_wrist", "left_wrst") for name in JOINT_NAMES], copy)
    with pytest.raises(BadFile, match="'left_hip' is named twice"):
        by_name([*JOINT_NAMES, "left_hip"], copy)


def test_a_hidden_joint_is_labelled_and_not_visible(copy: Path) -> None:
    edit(copy, whole_frame)
    edit(copy, lambda d: d["annotations"][1]["keypoints"].__setitem__(slice(12, 18), [20.0, 30.0, 1, 0.0, 0.0, 0]))
    sample = opened(copy, margin=0.0)[0]
    assert sample["joints"][1, 4].tolist() == [20, 30] and not sample["visible"][1, 4]
    assert sample["joints"][1, 5].tolist() == [UNLABELLED] * 2 and not sample["visible"][1, 5]
    assert sample["visible"][1].any()


def test_two_people_need_tracks(copy: Path) -> None:
    def second(document: Document) -> None:
        document["annotations"] += [{**a, "track_id": 7} for a in document["annotations"]]

    edit(copy, second)
    assert len(opened(copy)) == 12
    edit(copy, lambda d: [a.pop("track_id", None) for a in d["annotations"]])  # type: ignore[func-returns-value, arg-type]
    with pytest.raises(BadFile, match="has a second person and no 'track_id' to tell them apart"):
        opened(copy)
    edit(copy, lambda d: [a.update(track_id=1) for a in d["annotations"]])  # type: ignore[func-returns-value, arg-type]
    with pytest.raises(BadFile, match="has a second person of the same track"):
        opened(copy)


def test_missing_frames_are_named_and_not_spanned(copy: Path) -> None:
    edit(copy, lambda d: d["annotations"].pop(4))
    data = opened(copy, stride=1, frames=4)
    assert len(data) == 2 + 6
    assert len(data.problems) == 1 and "labels of frames 4 are missing; no clip spans them" in data.problems[0]
    edit(copy, lambda d: d["annotations"][2].update(keypoints=[0.0] * 39))  # nothing labelled
    assert "labels of frames 2, 4 are missing" in opened(copy).problems[0]


def test_every_second_frame_labelled_is_no_gap(copy: Path) -> None:
    edit(copy, lambda d: d.update(annotations=[a for a in d["annotations"] if a["image_id"] % 9 % 2]))
    data = opened(copy, frames=2)
    assert data.problems == [] and data.name(0).endswith(("frames 0 to 2", "000000.png to 000002.png"))


def first(**changes: Any) -> Callable[[Document], None]:
    return lambda document: document["annotations"][1].update(changes)


def point(x: float, y: float, v: float) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        document["annotations"][1]["keypoints"][6:9] = [x, y, v]

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d.pop("images"), "images: Field required"),
        (lambda d: d["images"][3].update(width="wide"), r"images\.3\.width: Input should be a valid integer.*'wide'"),
        (lambda d: d["images"][3].update(id=1), "image id 1 is given twice"),
        (lambda d: d.update(categories=[{"name": "person"}]), "none has 'keypoints' with the names"),
        (first(image_id=99), r"annotations\.1 \(image 99\): there is no image of this id"),
        (first(keypoints=[1.0, 2.0]), r"annotations\.1 \(image 2\): keypoints has 2 numbers, 39 are needed"),
        (first(bbox=[3, 4, 0, 5]), "is not x, y and a positive width and height"),
        (point(float("nan"), 3, 2), r"keypoints' of joint 'right_shoulder' is \[nan"),
        (point(float("inf"), 3, 2), r"keypoints' of joint 'right_shoulder' is \[inf"),
        (point(5, 3, 3), "v is 3; it is 0 "),
        (point(500, 3, 2), r"key point \[500.0, 3.0\] lies far outside the 64x64 frame"),
        (first(keypoints=[0.5, 0.5, 2.0] * 13), "give pixels, not fractions"),
        (lambda d: d["images"][3].update(width=65), "are 64x64 and 65x64; all frames of a clip must have one size"),
        (lambda d: [i.update(file_name="../annotations.json") for i in d["images"]], "leads out of"),
        (lambda d: [i.update(file_name="/etc/passwd") for i in d["images"]], "leads out of"),
    ],
)
def test_malformed_annotations_are_named(copy: Path, change: Callable[[Document], Any], sentence: str) -> None:
    edit(copy, change)
    if "leads out of" in sentence:
        edit(copy, lambda d: [i.update(frame=k) for k, i in enumerate(d["images"])])  # type: ignore[func-returns-value]
    with pytest.raises(BadFile, match=r"annotations\.json: ") as caught:
        opened(copy)
    assert caught.match(sentence)


def test_files_that_disagree_with_the_annotations_are_named(copy: Path) -> None:
    edit(copy, lambda d: [i.update(width=128, height=128) for i in d["images"]])  # type: ignore[func-returns-value, arg-type]
    with pytest.raises(BadFile, match=r"64x64 pixels, annotations\.json says 128x128"):
        opened(copy)[0]
    media = next(path for path in sorted((copy / "media").rglob("*")) if path.is_file())
    media.write_bytes(media.read_bytes()[:60])
    with pytest.raises(BadFile, match=media.name):
        opened(copy)[0]
    media.unlink()
    with pytest.raises(BadFile, match=media.name):
        opened(copy)[0]


def test_a_video_shorter_than_its_labels_is_named(tmp_path: Path) -> None:
    write_coco(rendered(), tmp_path)
    (tmp_path / "videos").rename(tmp_path / "media")
    edit(tmp_path, lambda d: [i.update(frame=i["frame"] + 5) for i in d["images"]])  # type: ignore[func-returns-value, arg-type]
    with pytest.raises(BadFile, match=r"clip0000\.mkv is too short: frame 13 is wanted"):
        opened(tmp_path, frames=9)[0]


def test_images_without_numbers_are_named(tmp_path: Path) -> None:
    write_coco(rendered(), tmp_path, images=True)
    (tmp_path / "images").rename(tmp_path / "media")
    edit(tmp_path, lambda d: d["images"][0].update(file_name="clip0000/first.png"))
    with pytest.raises(BadFile, match="has no 'frame' and no number at the end"):
        opened(tmp_path)


def test_damaged_json_and_bad_arguments_are_named(copy: Path) -> None:
    with pytest.raises(UnsupportedInput, match="val_share 2"):
        opened(copy, val_share=2)
    path = copy / "annotations.json"
    path.write_text(path.read_text()[:500])
    with pytest.raises(BadFile, match=r"annotations\.json: not a readable JSON file"):
        opened(copy)
    path.unlink()
    with pytest.raises(BadFile, match=r"annotations\.json: no such file"):
        opened(copy)


def test_a_region_reaches_beyond_the_frame() -> None:
    frames = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    cut = Region(-1, 2, 4, 4).cut(frames)[0, 0]
    assert cut.tolist() == [
        [OUTSIDE, 8, 9, 10],
        [OUTSIDE, 12, 13, 14],
        [OUTSIDE] * 4,
        [OUTSIDE] * 4,
    ]
    assert (Region(10, 10, 3, 3).cut(frames) == OUTSIDE).all()
    np.testing.assert_allclose(Region(-1, 2, 4, 4).points(np.array([[0.0, 4.0]], np.float32), (8, 8)), [[2, 4]])


def test_a_region_around_a_box_has_the_aspect_ratio() -> None:
    region = Region.around(np.array([10.0, 20.0], np.float32), np.array([20.0, 60.0], np.float32), (64, 64), 0.25)
    assert (region.width, region.height) == (60, 60)
    assert (region.left, region.top) == (-15, 10)
    assert Region.centred((100, 50), (64, 64)) == Region(0, 25, 50, 50)


def test_event_frames_keep_every_event_when_they_shrink() -> None:
    rng = np.random.default_rng(0)
    frames = (rng.random((2, 3, 10, 7)) < 0.1).astype(np.uint8)
    for size in ((10, 7), (5, 7), (3, 2), (20, 14), (5, 14)):
        resized = resize_events(frames, size)
        assert resized.shape == (2, 3, *size)
        assert (resized.any((2, 3)) == frames.any((2, 3))).all()
    np.testing.assert_array_equal(resize_events(resize_events(frames, (20, 14)), (10, 7)), frames)


def test_wrong_image_modes_become_rgb(tmp_path: Path) -> None:
    write_coco(rendered(), tmp_path, images=True)
    (tmp_path / "images").rename(tmp_path / "media")
    for path in (tmp_path / "media").rglob("*.png"):
        Image.open(path).convert("L").save(path)
    frames = opened(tmp_path)[0]["frames"]
    assert torch.equal(frames[:, 0], frames[:, 2]) and frames.float().std() > 5
