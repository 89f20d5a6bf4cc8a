import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from svf_edge.data.events import EventCamera, simulate_events
from svf_edge.data.formats.dhp19 import (
    CORRUPTED,
    HEIGHT,
    MATRIX_OF_CAMERA,
    WIDTH,
    Dhp19Dataset,
    project,
    to_camera,
    write_dhp19,
)
from svf_edge.data.formats.labels import DHP19_NAMES, UNLABELLED
from svf_edge.data.skeleton import JOINT_NAMES
from svf_edge.errors import BadFile, UnsupportedInput
from tests.data.rendered import Clips, assert_well_formed, rendered

TRAIN, VAL = "S1_session1_mov1_7500events", "S13_session1_mov2_7500events"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dhp19")
    assert [path.stem for path in write_dhp19(rendered(), folder)] == [TRAIN, VAL]
    return folder


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "set"))


def opened(folder: Path, split: str = "train", **options: Any) -> Dhp19Dataset:
    return Dhp19Dataset(folder, split, **({"frames": 4, "size": (HEIGHT, WIDTH)} | options))


def change(path: Path, key: str, edit: Callable[[np.ndarray], np.ndarray] | None) -> None:
    """Replaces a dataset by what `edit` makes of it, or removes it."""
    with h5py.File(path, "a") as file:
        values = file[key][()]
        del file[key]
        if edit:
            file[key] = edit(values)


def random_camera(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """K (image rows downward), rotation and translation of a camera that looks at the origin from 4 m."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation = q * np.sign(np.linalg.det(q))
    focal, x, y = rng.uniform(250, 400), rng.uniform(120, 220), rng.uniform(90, 160)
    return np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]]), rotation, np.array([100.0, -50.0, 4000.0])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_projection_matrix_gives_pixels_and_camera_space(sign: float) -> None:
    rng = np.random.default_rng(2)
    for _ in range(5):
        inner, rotation, translation = random_camera(rng)
        flip = np.array([[1, 0, 0], [0, -1, HEIGHT], [0, 0, 1]])  # its own inverse: rows count upward in DHP19's
        matrix = sign * 0.003 * flip @ inner @ np.column_stack([rotation, translation])
        world = rng.normal(0, 500, (6, 13, 3))
        camera = world @ rotation.T + translation
        pixels = (camera / camera[..., 2:]) @ inner.T
        np.testing.assert_allclose(project(matrix, world), pixels[..., :2], atol=1e-2)
        np.testing.assert_allclose(to_camera(matrix, world), camera, atol=1e-1)


@pytest.mark.parametrize("reverse", [True, False])
def test_a_written_clip_reads_back_in_either_order_of_axes(tmp_path: Path, reverse: bool) -> None:
    camera = EventCamera(polarity=False)
    write_dhp19(rendered(), tmp_path, reverse=reverse, camera=camera)
    with h5py.File(tmp_path / f"{TRAIN}.h5") as file, h5py.File(tmp_path / f"{TRAIN}_label.h5") as labels:
        assert file["DVS"].shape == ((8, 260, 346, 4) if reverse else (4, 346, 260, 8))
        assert labels["XYZ"].shape == ((8, 3, 13) if reverse else (13, 3, 8))
    data = opened(tmp_path, frames=8, projection=tmp_path / "P_matrices" / TRAIN)
    assert len(data) == 1
    sample, clip = data[0], rendered()[0]
    assert_well_formed(sample, 8, 1, (HEIGHT, WIDTH))
    counts = simulate_events(clip["frames"].numpy(), camera, np.random.default_rng([0, 0]))
    inner = sample["frames"][:, :, 98:162, 141:205].numpy()
    np.testing.assert_array_equal(inner, np.minimum(counts.astype(int) * 51, 255))
    assert 0.002 < (inner > 0).mean() < 0.7
    assert sample["frames"].sum() == inner.sum()
    torch.testing.assert_close(sample["joints3d"], clip["joints3d"][1:], atol=1e-4, rtol=1e-4)
    offset = sample["joints"] - clip["joints"][1:] - torch.tensor([141.0, 98.0])
    assert offset.abs().median() < 4  # one matrix for a camera that shakes and follows
    assert sample["joints"].std(1).mean() > 3


def test_order_of_joints_cameras_and_subjects(written: Path) -> None:
    assert sorted(DHP19_NAMES) == sorted(JOINT_NAMES)
    assert DHP19_NAMES[1] == "right_shoulder" and DHP19_NAMES[5] == "right_hip"
    assert sorted(MATRIX_OF_CAMERA) == [1, 2, 3, 4]
    assert opened(written, "val").name(1) == f"{VAL}.h5 frames 4 to 7"
    with h5py.File(written / f"{TRAIN}_label.h5") as file:
        knee = file["XYZ"][0, :, DHP19_NAMES.index("right_knee")]
    plain = opened(written)[0]
    np.testing.assert_allclose(plain["joints3d"][0, JOINT_NAMES.index("right_knee")] * 1000, knee, rtol=1e-5)


def test_each_camera_takes_its_matrix(copy: Path) -> None:
    for number in range(1, 5):
        np.save(copy / "P_matrices" / TRAIN / f"P{number}.npy", np.full((3, 4), number) + np.eye(3, 4) * 10.0)
    found = [opened(copy, camera=c, projection=copy / "P_matrices" / TRAIN).projection for c in range(4)]
    assert [int(matrix[0, 3]) for matrix in found if matrix is not None] == [4, 1, 3, 2]


def test_without_matrices_joints_are_unlabelled_in_2d(written: Path) -> None:
    sample = opened(written)[0]
    assert (sample["joints"] == UNLABELLED).all() and not sample["visible"].any()
    assert sample["joints3d"].isfinite().all()


def test_a_lost_marker_is_unlabelled(copy: Path) -> None:
    def lose(values: np.ndarray) -> np.ndarray:
        values[2, :, DHP19_NAMES.index("left_wrist")] = np.nan
        return values

    change(copy / f"{TRAIN}_label.h5", "XYZ", lose)
    sample = opened(copy, projection=copy / "P_matrices" / TRAIN)[0]
    wrist = JOINT_NAMES.index("left_wrist")
    assert (sample["joints"][2, wrist] == UNLABELLED).all() and not sample["visible"][2, wrist]
    assert sample["joints3d"][2, wrist].isnan().all()
    lost = sample["joints3d"].isnan().any(-1)
    assert lost.sum() == 1 and sample["joints"].isfinite().all()


def test_corrupted_and_short_recordings_are_left_out_and_noted(copy: Path) -> None:
    for subject, session, movement in sorted(CORRUPTED):
        (copy / f"S{subject}_session{session}_mov{movement}_7500events.h5").write_bytes(b"damaged")
    data = opened(copy)
    assert len(data) == 2
    assert [note.split(": ")[1] for note in data.notes] == ["known to be corrupted as published; left out"] * 2
    with pytest.raises(BadFile, match="8 frames are too few for a clip of 9"):
        opened(copy, frames=9)


def infinite(values: np.ndarray) -> np.ndarray:
    values[1, 0, 3] = np.inf
    return values


@pytest.mark.parametrize(
    ("name", "key", "edit", "sentence"),
    [
        (f"{TRAIN}.h5", "DVS", None, r"events\.h5: dataset '/DVS' is missing"),
        (f"{TRAIN}.h5", "DVS", lambda v: v[..., :3], r"'/DVS' has shape \[8, 260, 346, 3\]; it is neither"),
        (f"{TRAIN}.h5", "DVS", lambda v: v.transpose(0, 2, 1, 3), r"has shape \[8, 346, 260, 4\]; it is neither"),
        (f"{TRAIN}.h5", "DVS", lambda v: v / 100.0, "values that are not whole numbers from 0 to 255"),
        (f"{TRAIN}.h5", "DVS", lambda v: np.where(v > 0, np.nan, 0.0), "values that are not whole numbers"),
        (f"{TRAIN}.h5", "DVS", lambda v: v.astype("S1"), r"has dtype \|S1, numbers are needed"),
        (f"{TRAIN}_label.h5", "XYZ", lambda v: v[:5], "'/XYZ' has 5 frames, '/DVS' of .* has 8"),
        (f"{TRAIN}_label.h5", "XYZ", lambda v: v.transpose(0, 2, 1), r"'/XYZ' has shape \[8, 13, 3\]; it is neither"),
        (f"{TRAIN}_label.h5", "XYZ", infinite, "'/XYZ' of joint 'right_elbow' is infinite near frame 0"),
        (f"{TRAIN}_label.h5", "XYZ", lambda v: v / 1000, "makes a torso"),
    ],
)
def test_a_malformed_dataset_is_named(
    copy: Path, name: str, key: str, edit: Callable[[np.ndarray], np.ndarray], sentence: str
) -> None:
    change(copy / name, key, edit)
    with pytest.raises(BadFile, match=sentence):
        opened(copy)[0]


def test_damaged_and_missing_files_are_named(copy: Path) -> None:
    frames = copy / f"{TRAIN}.h5"
    frames.write_bytes(frames.read_bytes()[:2000])
    with pytest.raises(BadFile, match=rf"{TRAIN}\.h5: not a readable HDF5 file"):
        opened(copy)
    (copy / f"{VAL}_label.h5").unlink()
    with pytest.raises(BadFile, match=rf"{VAL}_label\.h5: no such file; frames and labels of DHP19 come in pairs"):
        opened(copy, "val")


def test_data_in_other_files_is_not_followed(copy: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(8 * 260 * 346 * 4))
    path = copy / f"{TRAIN}.h5"
    with h5py.File(path, "a") as file:
        del file["DVS"]
        file.create_dataset("DVS", (8, 260, 346, 4), "u1", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    with pytest.raises(BadFile, match="keeps its data in other files"):
        opened(copy)
    with h5py.File(path, "a") as file:
        del file["DVS"]
        file["DVS"] = h5py.ExternalLink(str(copy / f"{VAL}.h5"), "/DVS")
    with pytest.raises(BadFile, match="is a link to elsewhere"):
        opened(copy)


def test_a_chunk_bomb_is_refused(copy: Path) -> None:
    path = copy / f"{TRAIN}.h5"
    with h5py.File(path, "a") as file:
        del file["DVS"]
        file.create_dataset("DVS", (2000, 260, 346, 4), "u1", chunks=(2000, 260, 346, 4), compression="gzip")
    with pytest.raises(BadFile, match="is stored in chunks of 719680000 bytes"):
        opened(copy)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (np.eye(4), r"has 3 x 4 finite floats, not float64 \[4, 4\]"),
        (np.full((3, 4), np.nan), "3 x 4 finite floats"),
        (np.ones((3, 4)), "singular"),
        (np.array([{}]), "not a readable projection matrix"),
    ],
)
def test_a_bad_matrix_is_named(written: Path, tmp_path: Path, content: np.ndarray, sentence: str) -> None:
    np.save(tmp_path / "P.npy", content, allow_pickle=True)
    with pytest.raises(BadFile, match=rf"P\.npy.*{sentence}"):
        opened(written, projection=tmp_path / "P.npy")


def test_bad_arguments_are_named(written: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedInput, match="camera 4 does not exist"):
        opened(written, camera=4)
    with pytest.raises(BadFile, match="no such folder"):
        opened(tmp_path / "gone")
    clip = rendered()[0]
    with pytest.raises(UnsupportedInput, match="no 3-D joints"):
        write_dhp19(Clips([{**clip, "joints3d": clip["joints3d"] * torch.nan}]), tmp_path)  # type: ignore[typeddict-item]
