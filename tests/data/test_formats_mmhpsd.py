import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from svf_edge.data.formats.eventhpe import EventHpeDataset, write_eventhpe
from svf_edge.data.formats.files import npz_bytes
from svf_edge.data.formats.mmhpsd import MmhpsdDataset, event_frames, write_mmhpsd
from svf_edge.data.formats.packed import detect_order, pack, unpack
from svf_edge.errors import BadFile, UnsupportedInput
from tests.data.rendered import Clips, assert_well_formed, rendered

TRAIN, VAL = "subject03_group1_time2", "subject01_group1_time1"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mmhpsd")
    assert [path.name for path in write_mmhpsd(rendered(), folder)] == [VAL, TRAIN]
    return folder


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "set"))


def opened(folder: Path, split: str = "train", **options: Any) -> MmhpsdDataset:
    return MmhpsdDataset(folder, split, **({"frames": 3, "size": (64, 64), "gaps": (1,)} | options))


def test_a_written_clip_reads_back(written: Path) -> None:
    for split, index in (("train", 1), ("val", 0)):
        data = opened(written, split, frames=8)
        assert len(data) == 1 and data.problems == []
        sample, clip = data[0], rendered()[index]
        assert_well_formed(sample, 8, 4, (64, 64))
        torch.testing.assert_close(sample["joints"], clip["joints"][1:])
        torch.testing.assert_close(sample["joints3d"], clip["joints3d"][1:])
        assert sample["frames"].max() == 1
        assert 0.001 < sample["frames"].float().mean() < 0.7
        joints, joints3d = data.poses(0)
        assert joints.shape == (9, 13, 2) and joints3d.shape == (9, 13, 3)
        np.testing.assert_allclose(joints, clip["joints"].numpy() * 4, rtol=1e-6)


def test_frames_at_full_size_are_those_written(written: Path) -> None:
    data = opened(written, "val", frames=8, size=(256, 256))
    expected = event_frames(rendered()[0], np.random.default_rng([0, 0]))
    assert 0.001 < expected.mean() < 0.6
    np.testing.assert_array_equal(data[0]["frames"].numpy(), expected)


def test_a_gap_joins_frames_by_or_and_skips_poses(written: Path) -> None:
    single = opened(written, frames=8, size=(256, 256))[0]
    double = opened(written, frames=4, size=(256, 256), gaps=(2,))[0]
    joined = single["frames"].reshape(4, 2, 4, 256, 256).amax(1)
    assert torch.equal(double["frames"], joined)
    torch.testing.assert_close(double["joints"], single["joints"][1::2])
    names = [opened(written, frames=2, gaps=(1, 2, 3)).name(index) for index in range(3)]
    assert names == [f"{TRAIN} poses {span}" for span in ("0 to 2", "6 to 8", "0 to 4")]
    assert [clip.gap for clip in MmhpsdDataset(written, "val", frames=2).clips] == [2, 2]
    assert {clip.gap for clip in MmhpsdDataset(written, "train", frames=2, stride=1).clips} == {1, 2, 3}


def test_resizing_takes_a_cells_events_and_a_wide_size_cuts(written: Path) -> None:
    full = opened(written, size=(256, 256))[0]
    half = opened(written, size=(128, 128))[0]
    assert torch.equal(half["frames"], full["frames"].reshape(3, 4, 128, 2, 128, 2).amax((3, 5)))
    wide = opened(written, size=(128, 256))[0]
    assert torch.equal(wide["frames"], full["frames"][:, :, 64:192])
    torch.testing.assert_close(wide["joints"], full["joints"] - torch.tensor([0.0, 64.0]))


def test_a_mirrored_clip_is_the_one_that_poses_flip_describes(written: Path, tmp_path: Path) -> None:
    data = opened(written, mirror=True, size=(256, 256))
    assert len(data) == 4 and data.name(2).endswith("mirrored")
    plain, mirrored = data[0], data[2]
    assert torch.equal(mirrored["frames"], plain["frames"].flip(-1))
    folder = Path(shutil.copytree(written, tmp_path / "flipped"))
    action = folder / "mmhpsd_events" / TRAIN
    shutil.rmtree(action / "poses")
    (action / "poses_flip").rename(action / "poses")
    flipped = opened(folder, size=(256, 256))[0]
    torch.testing.assert_close(mirrored["joints"], flipped["joints"])
    torch.testing.assert_close(mirrored["joints3d"], flipped["joints3d"])


def test_grey_images_are_those_at_the_poses(written: Path) -> None:
    data = opened(written, modality="grey", frames=8)
    sample = data[0]
    assert_well_formed(sample, 8, 3, (64, 64))
    clip = rendered()[1]
    luma = (clip["frames"][1:].float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    error = (sample["frames"][:, 0].float() - luma).abs().mean()
    shifted = (sample["frames"][:-1, 0].float() - luma[1:]).abs().mean()
    assert error < 4 and error < 0.7 * shifted
    torch.testing.assert_close(sample["joints"], clip["joints"][1:])


def test_synthesised_events_train_only(copy: Path) -> None:
    action = copy / "mmhpsd_events" / TRAIN
    (action / "events_frame_04").rename(action / "events_synthesis_frame_04")
    assert len(opened(copy, modality="synthesis")) == 2
    with pytest.raises(UnsupportedInput, match="are for training"):
        opened(copy, "val", modality="synthesis")
    with pytest.raises(BadFile, match=r"no clip of 3 frames.*frame 0 is missing \(8 in all\)"):
        opened(copy)


@pytest.mark.parametrize("order", ["big", "little"])
def test_packing_is_numpys_and_its_order_shows(order: Any) -> None:
    for clip in rendered().samples:
        frames = event_frames(clip, np.random.default_rng(1))
        packed = np.stack([pack(frame, order) for frame in frames])
        expected = np.packbits(frames[0].transpose(1, 2, 0), bitorder=order)
        np.testing.assert_array_equal(packed[0], expected)
        np.testing.assert_array_equal(unpack(packed[0], order), frames[0])
        assert detect_order(packed) == order


def test_bit_order_stays_open_where_the_data_do_not_show_it() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (8, 32768), dtype=np.uint8)
    sparse = noise * (rng.random(noise.shape) < 0.001)
    for packed in (noise, sparse.astype(np.uint8), np.zeros((1, 32768), np.uint8), np.full((1, 32768), 255, np.uint8)):
        assert detect_order(packed) is None


def test_the_wrong_bit_order_is_named(tmp_path: Path) -> None:
    write_mmhpsd(rendered(), tmp_path, bit_order="little")
    with pytest.raises(BadFile, match=r"events_0000\.npz: key 'events_frame' is packed in little-endian bit order"):
        opened(tmp_path)[0]
    right = opened(tmp_path, bit_order="little", frames=8, size=(256, 256), split="val")[0]
    np.testing.assert_array_equal(right["frames"].numpy(), event_frames(rendered()[0], np.random.default_rng([0, 0])))


def test_missing_frames_are_named_and_not_spanned(copy: Path) -> None:
    action = copy / "mmhpsd_events" / TRAIN
    (action / "poses/pose_0003.npz").unlink()
    (action / "events_frame_04/events_0006.npz").unlink()
    data = opened(copy, frames=2, stride=1)
    assert data.problems == [
        f"{TRAIN}: poses 3 are missing; no clip spans them",
        f"{TRAIN}: frame 6 is missing; no clip spans it",
    ]
    assert [data.name(index) for index in range(len(data))] == [f"{TRAIN} poses {s}" for s in ("0 to 2", "4 to 6")]


def rewritten(**changes: Any) -> Callable[[Path], None]:
    """A change of the arrays in an .npz file; None drops one."""

    def change(path: Path) -> None:
        with np.load(path) as arrays:
            content = dict(arrays) | {k: v(arrays[k]) if callable(v) else v for k, v in changes.items()}
        path.write_bytes(npz_bytes(**{k: v for k, v in content.items() if v is not None}))

    return change


def spoilt(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[4, 1] = value
        return array

    return change


def with_object(path: Path) -> None:
    np.savez(path, joints2d=np.zeros((24, 2), np.float32), joints3d=np.array([{}], dtype=object))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def bomb(path: Path) -> None:
    """Declares 2^40 elements and holds a few bytes."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1048576, 1048576), }".ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        for key in ("joints2d", "joints3d"):
            archive.writestr(f"{key}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64))


def short(path: Path) -> None:
    """A header for more than the file holds."""
    with np.load(path) as arrays:
        content = dict(arrays)
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in content.items():
            whole = zipfile.ZipFile(__import__("io").BytesIO(npz_bytes(**{key: array}))).read(f"{key}.npy")
            archive.writestr(f"{key}.npy", whole[:-4])


POSE, EVENTS = "poses/pose_0001.npz", "events_frame_04/events_0001.npz"


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        (POSE, rewritten(joints3d=None), r"pose_0001\.npz: key 'joints3d' is missing, the file holds beta, body_pose"),
        (POSE, rewritten(joints3d=np.zeros((17, 3), np.float32)), r"has shape \[17, 3\], \[24, 3\] is needed"),
        (POSE, rewritten(joints2d=np.zeros((24, 1), np.float32)), "has 1 columns; at least x, y are needed"),
        (POSE, rewritten(joints2d=np.zeros((24, 2), np.int32)), "has dtype int32, a float type is needed"),
        (POSE, rewritten(joints3d=spoilt(np.nan)), r"'joints3d' of joint 'left_knee' is \["),
        (POSE, rewritten(joints2d=spoilt(np.inf)), r"'joints2d' of joint 'left_knee' is \[ *[0-9.]+ +inf\]"),
        (POSE, rewritten(joints3d=lambda a: a * 1000), "that looks like millimetres"),
        (POSE, rewritten(joints2d=lambda a: a / 256), "give pixels of a 256x256 frame"),
        (POSE, with_object, "holds Python objects, which are pickled and never loaded"),
        (POSE, truncated, r"pose_0001\.npz: not a readable \.npz file"),
        (POSE, bomb, r"has shape \[1048576, 1048576\]"),
        (POSE, short, "does not hold the 192 bytes that its header declares"),
        (EVENTS, rewritten(events_frame=np.zeros((256, 256, 4), np.uint8)), r"has shape \[256, 256, 4\]"),
        (EVENTS, rewritten(events_frame=np.zeros(32768, np.uint16)), r"has dtype uint16, .* of 1 byte"),
        (EVENTS, lambda path: path.write_bytes(b""), r"events_0001\.npz: not a readable \.npz file"),
    ],
)
def test_a_malformed_file_is_named(copy: Path, name: str, change: Callable[[Path], None], sentence: str) -> None:
    change(copy / "mmhpsd_events" / TRAIN / name)
    with pytest.raises(BadFile, match=sentence):
        opened(copy)[0]


def test_a_tall_array_is_bounded_before_it_is_allocated(copy: Path) -> None:
    path = copy / "mmhpsd_events" / TRAIN / POSE
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (24, 1099511627776), }".ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("joints2d.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(BadFile, match="more than the 384 elements"):
        opened(copy)[0]


def test_grey_images_of_mixed_sizes_are_named(copy: Path) -> None:
    path = copy / "mmhpsd_grayscale_img" / TRAIN / "imgs/fullpic0002.jpg"
    Image.new("L", (32, 32)).save(path)
    with pytest.raises(BadFile, match=r"fullpic0002\.jpg: 32x32 pixels, fullpic0001\.jpg has 64x64"):
        opened(copy, modality="grey")[0]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadFile, match=r"fullpic0002\.jpg: not a readable image"):
        opened(copy, modality="grey")[0]


def test_bad_arguments_and_folders_are_named(written: Path, tmp_path: Path) -> None:
    for options, sentence in (
        ({"split": "test"}, "data split 'test'"),
        ({"frames": 0}, "frames 0"),
        ({"gaps": (0,)}, r"gaps \[0\]"),
        ({"size": (4, 64)}, "4x64"),
    ):
        with pytest.raises(UnsupportedInput, match=sentence):
            opened(written, **options)
    with pytest.raises(BadFile, match="mmhpsd_events: no such folder"):
        opened(tmp_path)
    with pytest.raises(BadFile, match="no clip of 40 frames for split 'train'"):
        opened(written, frames=40)


def test_clips_that_do_not_fit_the_format_are_not_written(tmp_path: Path) -> None:
    clip = rendered()[0]
    for changed, sentence in (
        ({"joints3d": clip["joints3d"] * torch.nan}, "no 3-D joints"),
        ({"frames": clip["frames"][..., :32]}, "frames are square"),
        ({"frames": clip["frames"][:1]}, "at least two frames"),
    ):
        with pytest.raises(UnsupportedInput, match=sentence):
            write_mmhpsd(Clips([{**clip, **changed}]), tmp_path)  # type: ignore[typeddict-item]


@pytest.fixture
def pngs(tmp_path: Path) -> Path:
    write_eventhpe(rendered(), tmp_path / "eventhpe")
    return tmp_path / "eventhpe"


def test_eventhpe_gives_the_same_clips(pngs: Path, written: Path) -> None:
    ours = EventHpeDataset(pngs, "train", frames=4, size=(64, 64), gaps=(2,))
    other = opened(written, frames=4, gaps=(2,))
    assert len(ours) == len(other) == 1
    for key in ("frames", "joints", "joints3d"):
        assert torch.equal(ours[0][key], other[0][key])  # type: ignore[literal-required]


def test_eventhpe_channels_are_in_opencv_order(pngs: Path) -> None:
    frames = event_frames(rendered()[0], np.random.default_rng([0, 0]))
    stored = np.asarray(Image.open(pngs / "events_256" / VAL / "event0000.png"))
    np.testing.assert_array_equal(stored[..., 2], frames[0, 0])
    np.testing.assert_array_equal(stored[..., 3], frames[0, 3])
    assert (frames[0, 0] != frames[0, 2]).any()


def test_eventhpe_pickles_are_refused_unread(pngs: Path) -> None:
    poses = pngs / "pose_events" / TRAIN
    (poses / "pose0003.npz").unlink()
    (poses / "pose0003.pkl").write_bytes(b"cposix\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(BadFile, match=r"pose0003\.pkl: poses are pickles, .*convert them once"):
        EventHpeDataset(pngs, "train", frames=2)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (Image.new("RGBA", (256, 256), (0, 1, 0, 255)), "a value is 255; binary event frames"),
        (Image.new("RGBA", (64, 64)), "64x64 pixels; event frames have 256x256"),
        (Image.new("RGB", (256, 256)), "an image of mode RGB; event frames are PNG files of 4 channels"),
    ],
)
def test_a_malformed_event_png_is_named(pngs: Path, image: Image.Image, sentence: str) -> None:
    image.save(pngs / "events_256" / TRAIN / "event0001.png")
    with pytest.raises(BadFile, match=rf"event0001\.png: {sentence}"):
        EventHpeDataset(pngs, "train", frames=3, gaps=(1,))[0]
