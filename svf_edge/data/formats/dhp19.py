"""DHP19 (Calabrese et al., CVPRW 2019): event frames of constant count from four cameras, 13 joints.

    FOLDER/S1_session1_mov1_7500events.h5         `/DVS` [4, 346, 260, N], values 0..255
    FOLDER/S1_session1_mov1_7500events_label.h5   `/XYZ` [13, 3, N] millimetres, NaN where a marker was not seen

MATLAB writes these files column by column, so h5py shows the axes reversed ([N, 260, 346, 4] and [N, 3, 13]); files in
either order are recognised by their shape. Pixels of the joints need the cameras' projection matrices, which the
authors give as `P1.npy` to `P4.npy`. Without them samples have 3-D joints only, along the axes of the motion-capture
system; with them 3-D joints are in the camera's space. Needs h5py (extra `data`).
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from svf_edge.data.events import EventCamera, simulate_events
from svf_edge.data.formats.clips import FormatDataset
from svf_edge.data.formats.files import existing_folder
from svf_edge.data.formats.labels import DHP19_NAMES, FROM_DHP19, UNLABELLED, make_sample, require_metres
from svf_edge.data.formats.region import Region, resize_pixels
from svf_edge.data.sample import Sample
from svf_edge.data.skeleton import JOINT_NAMES, NUM_JOINTS
from svf_edge.errors import BadFile, MissingPackage, UnsupportedInput
from svf_edge.files import atomic_write

if TYPE_CHECKING:
    import h5py

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]

WIDTH: Final = 346
HEIGHT: Final = 260
CAMERAS: Final = 4
TRAIN_SUBJECTS: Final = frozenset(range(1, 13))
TEST_SUBJECTS: Final = frozenset(range(13, 18))
CORRUPTED: Final = frozenset({(4, 3, 4), (4, 3, 6)})
"""(subject, session, movement) of recordings that are damaged as published; they are left out."""

MATRIX_OF_CAMERA: Final = (4, 1, 3, 2)
"""Number of the matrix file of each camera in the order of `/DVS`, which is not the order of the matrices."""

_NAME: Final = re.compile(r"S(\d+)_session(\d+)_mov(\d+)_(\d+)events\.h5")
_FRAMES: Final = (CAMERAS, WIDTH, HEIGHT, None)
_LABELS: Final = (NUM_JOINTS, 3, None)
_MOST_CHUNK: Final = 1 << 28
"""Bytes; a chunk is unpacked as a whole whatever part of it is read."""


@dataclass(frozen=True)
class Recording:
    """One sequence: its two files, their numbers of frames, and whether the axes of each are reversed."""

    frames: Path
    labels: Path
    length: int
    frames_reversed: bool
    labels_reversed: bool


class Dhp19Dataset(FormatDataset):
    """Clips of T event frames `[T, 1, H, W]` of one `camera` (0 to 3, in the order of `/DVS`).

    Split "train" has subjects 1 to 12, "val" 13 to 17. A clip starts every `stride` frames (default: T). `projection`:
    a 3 x 4 matrix, a .npy file with one, or the folder of `P1.npy` to `P4.npy`. Joints that the motion capture lost are
    unlabelled. Raises BadFile for a folder without clips and for files that are damaged or of other shapes.
    """

    channels = 1

    def __init__(
        self,
        folder: str | Path,
        split: str,
        frames: int = 8,
        size: tuple[int, int] = (HEIGHT, WIDTH),
        *,
        camera: int = 2,
        projection: str | Path | NDArray[np.floating] | None = None,
        stride: int | None = None,
        cover: bool = False,
    ) -> None:
        super().__init__(split, frames, size, stride, cover)
        if not 0 <= camera < CAMERAS:
            raise UnsupportedInput(f"camera {camera} does not exist; DHP19 has cameras 0 to {CAMERAS - 1}")
        self.camera = camera
        self.projection = None if projection is None else _projection(projection, camera)
        self.clips: list[tuple[Recording, int]] = []
        folder = existing_folder(Path(folder), "S1_session1_mov1_7500events.h5 and the like")
        subjects = TRAIN_SUBJECTS if split == "train" else TEST_SUBJECTS
        for path in sorted(folder.iterdir()):
            match = _NAME.fullmatch(path.name)
            if not match or int(match[1]) not in subjects:
                continue
            if tuple(int(part) for part in match.groups()[:3]) in CORRUPTED:
                self.notes.append(f"{path}: known to be corrupted as published; left out")
                continue
            recording = _open_recording(path)
            starts = self.starts(recording.length, frames)
            if not starts:
                self.notes.append(f"{path}: {recording.length} frames are too few for a clip of {frames}")
            self.clips.extend((recording, start) for start in starts)
        self.require_clips(folder)

    def __len__(self) -> int:
        return len(self.clips)

    def name(self, index: int) -> str:
        recording, start = self.clips[index]
        return f"{recording.frames.name} frames {start} to {start + self.frames - 1}"

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.clips):
            raise IndexError(index)
        recording, start = self.clips[index]
        source = self._read_frames(recording, start)
        world = self._read_labels(recording, start)
        seen: NDArray[np.bool_] = np.all(np.isfinite(world), axis=-1)
        region = Region.centred((HEIGHT, WIDTH), self.size)
        joints = np.full((self.frames, NUM_JOINTS, 2), UNLABELLED, dtype=np.float32)
        joints3d = world / np.float32(1000)
        if self.projection is not None:
            joints = np.where(seen[..., None], region.points(project(self.projection, world), self.size), joints)
            joints3d = to_camera(self.projection, world) / np.float32(1000)
        require_metres(joints3d, recording.labels, "XYZ")
        return make_sample(resize_pixels(region.cut(source, outside=0), self.size), joints, seen, joints3d)

    def _read_frames(self, recording: Recording, start: int) -> Pixels:
        window = slice(start, start + self.frames)
        with _opened(recording.frames) as file:
            if recording.frames_reversed:
                values = file["DVS"][window, :, :, self.camera]
            else:
                values = file["DVS"][self.camera, :, :, window].transpose(2, 1, 0)
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 255 or (values % 1).any():
            raise BadFile(
                f"{recording.frames}: '/DVS' has values that are not whole numbers from 0 to 255; make it again"
            )
        return np.asarray(values, dtype=np.uint8)[:, None]

    def _read_labels(self, recording: Recording, start: int) -> Array:
        """Millimetres [T, 13, 3] in the motion-capture system's axes, our order."""
        window = slice(start, start + self.frames)
        with _opened(recording.labels) as file:
            values = file["XYZ"][window] if recording.labels_reversed else file["XYZ"][:, :, window].transpose(2, 1, 0)
        values = np.asarray(values, dtype=np.float32).transpose(0, 2, 1)[:, FROM_DHP19, :]
        if np.isinf(values).any():
            joint = JOINT_NAMES[int(np.argwhere(np.isinf(values))[0][1])]
            raise BadFile(
                f"{recording.labels}: '/XYZ' of joint '{joint}' is infinite near frame {start}; write NaN where a "
                f"joint was not seen"
            )
        return np.asarray(values, dtype=np.float32)


def project(matrix: NDArray[np.floating], points: NDArray[np.floating]) -> Array:
    """Pixels `[..., 2]` (x right, y down) of points `[..., 3]` by a 3 x 4 matrix whose rows count upward."""
    homogeneous = points.astype(np.float64) @ matrix[:, :3].T + matrix[:, 3]
    flat = homogeneous[..., :2] / homogeneous[..., 2:]
    return np.stack([flat[..., 0], HEIGHT - flat[..., 1]], axis=-1).astype(np.float32)


def to_camera(matrix: NDArray[np.floating], points: NDArray[np.floating]) -> Array:
    """Points `[..., 3]` in the space of the camera behind a projection matrix: x right, y down, z away; same unit.

    The matrix is taken apart into K [R | t] by an RQ decomposition (Hartley and Zisserman, section 6.2.4).
    """
    flip = np.array([[1, 0, 0], [0, -1, HEIGHT], [0, 0, 1]], dtype=np.float64)
    down = flip @ matrix.astype(np.float64)
    reverse = np.eye(3)[::-1]
    q, r = np.linalg.qr((reverse @ down[:, :3]).T)
    inner, rotation = reverse @ r.T @ reverse, reverse @ q.T
    signs = np.diag(np.sign(np.diag(inner)))
    inner, rotation = inner @ signs, signs @ rotation
    moved = points.astype(np.float64) @ rotation.T + np.linalg.solve(inner, down[:, 3])
    depth = moved[..., 2]
    if np.isfinite(depth).any() and np.nanmedian(depth) < 0:  # a projection matrix is known but for its sign
        moved = -moved
    return moved.astype(np.float32)


def _projection(given: str | Path | NDArray[np.floating], camera: int) -> NDArray[np.floating]:
    if isinstance(given, np.ndarray):
        matrix, name = given, "projection"
    else:
        path = Path(given)
        path = path / f"P{MATRIX_OF_CAMERA[camera]}.npy" if path.is_dir() else path
        name = str(path)
        try:
            with path.open("rb") as file:
                content = file.read(1 << 16)  # a matrix has a few hundred bytes
            matrix = np.load(io.BytesIO(content), allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BadFile(f"{path}: not a readable projection matrix ({error}); give a .npy file of 3 x 4") from error
    if matrix.shape != (3, 4) or matrix.dtype.kind != "f" or not np.isfinite(matrix).all():
        raise BadFile(
            f"{name}: a projection matrix has 3 x 4 finite floats, not {matrix.dtype} {list(matrix.shape)}; "
            f"DHP19 gives one for each camera"
        )
    if abs(np.linalg.det(matrix[:, :3])) == 0:
        raise BadFile(f"{name}: the projection matrix is singular, so no camera; copy it again")
    return matrix


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingPackage("h5py", "data") from error
    if not path.is_file():
        raise BadFile(f"{path}: no such file; frames and labels of DHP19 come in pairs")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise BadFile(f"{path}: not a readable HDF5 file ({error}); it may be truncated, copy it again") from error


def _open_recording(path: Path) -> Recording:
    labels = path.with_name(f"{path.stem}_label.h5")
    shape = _shape(path, "DVS", "uf")
    label_shape = _shape(labels, "XYZ", "f")
    turned = _is_reversed(path, "DVS", shape, _FRAMES)
    labels_turned = _is_reversed(labels, "XYZ", label_shape, _LABELS, prefer=turned)
    length = shape[0] if turned else shape[-1]
    label_length = label_shape[0] if labels_turned else label_shape[-1]
    if length != label_length:
        raise BadFile(
            f"{labels}: '/XYZ' has {label_length} frames, '/DVS' of {path.name} has {length}; copy both again"
        )
    return Recording(path, labels, length, turned, labels_turned)


def _shape(path: Path, key: str, kinds: str) -> tuple[int, ...]:
    with _opened(path) as file:
        import h5py

        link = file.get(key, getlink=True)
        if link is None:
            raise BadFile(f"{path}: dataset '/{key}' is missing, the file holds {', '.join(file) or 'nothing'}")
        if not isinstance(link, h5py.HardLink):
            raise BadFile(f"{path}: '/{key}' is a link to elsewhere, which is not followed; store the data in the file")
        try:
            data: Any = file[key]
        except (KeyError, ValueError) as error:
            raise BadFile(f"{path}: dataset '/{key}' cannot be opened ({error}); copy the file again") from error
        if not isinstance(data, h5py.Dataset):
            raise BadFile(f"{path}: '/{key}' is a group, a dataset is needed; is it a file of DHP19?")
        if data.external or data.is_virtual:
            raise BadFile(f"{path}: '/{key}' keeps its data in other files, which are not read; store it in this one")
        if data.dtype.kind not in kinds:
            raise BadFile(f"{path}: '/{key}' has dtype {data.dtype}, numbers are needed; is it a file of DHP19?")
        chunk = math.prod(data.chunks or ()) * data.dtype.itemsize
        if chunk > _MOST_CHUNK:
            raise BadFile(
                f"{path}: '/{key}' is stored in chunks of {chunk} bytes; rewrite it with chunks of a frame each"
            )
        return tuple(data.shape)


def _is_reversed(
    path: Path, key: str, shape: tuple[int, ...], wanted: tuple[int | None, ...], prefer: bool = True
) -> bool:
    """Whether `shape` is `wanted` with the axes reversed; `prefer` decides where it is both."""

    def fits(order: tuple[int | None, ...]) -> bool:
        return len(shape) == len(order) and all(b in (None, a) for a, b in zip(shape, order, strict=True))

    plain, turned = fits(wanted), fits(wanted[::-1])
    if not (plain or turned):
        names = ", ".join("N" if size is None else str(size) for size in wanted)
        raise BadFile(
            f"{path}: '/{key}' has shape {list(shape)}; it is neither [{names}] nor, as MATLAB's files read elsewhere, "
            f"the same reversed"
        )
    return turned and (prefer or not plain)


def write_dhp19(
    clips: Dataset[Sample],
    folder: str | Path,
    *,
    subjects: Sequence[int] = (1, 13),
    reverse: bool = True,
    camera: EventCamera | None = None,
    seed: int = 0,
) -> list[Path]:
    """Write clips of N frames as recordings of N - 1 event frames and labels; returns the files of the frames.

    All four cameras see the same frames, padded or cut to 346 x 260. The motion-capture system is the clip's camera
    space, in millimetres; `reverse` stores the axes as MATLAB does. Matrices that project into the frames go to
    `FOLDER/P_matrices/S.._mov../P1.npy` and on, one folder for each recording, since every clip has its own camera.
    Raises UnsupportedInput for clips of one frame or without 3-D joints.
    """
    camera = camera or EventCamera(polarity=False)
    folder, written = Path(folder), []
    for index in range(len(clips)):  # type: ignore[arg-type]
        clip = clips[index]
        if not np.isfinite(clip["joints3d"].numpy()).all():
            raise UnsupportedInput("a clip has no 3-D joints, which this format needs; write clips of the generator")
        name = f"S{subjects[index % len(subjects)]}_session1_mov{index + 1}_7500events"
        counts = simulate_events(clip["frames"].numpy(), camera, np.random.default_rng([seed, index]))[:, 0]
        offset = ((HEIGHT - counts.shape[1]) // 2, (WIDTH - counts.shape[2]) // 2)
        placed = Region(-offset[1], -offset[0], WIDTH, HEIGHT).cut(counts, outside=0)
        full = np.minimum(placed.astype(np.uint16) * _STEP, 255).astype(np.uint8)
        frames = np.repeat(full.transpose(2, 1, 0)[None], CAMERAS, axis=0)  # [4, 346, 260, N]
        joints3d = clip["joints3d"][1:].numpy() * np.float32(1000)
        ours = np.array([JOINT_NAMES.index(joint) for joint in DHP19_NAMES])
        labels = joints3d[:, ours].transpose(1, 2, 0).astype(np.float64)  # [13, 3, N]
        path = folder / f"{name}.h5"
        _write_h5(path, "DVS", frames.T if reverse else frames)
        _write_h5(folder / f"{name}_label.h5", "XYZ", labels.T if reverse else labels)
        matrix = _fit_matrix(joints3d, clip["joints"][1:].numpy() + np.array(offset[::-1], dtype=np.float32))
        for number in range(1, CAMERAS + 1):
            with atomic_write(folder / "P_matrices" / path.stem / f"P{number}.npy") as temporary:
                np.save(temporary, matrix, allow_pickle=False)
        written.append(path)
    return written


_STEP: Final = 51
"""Grey levels of one event in written frames; the authors scale each frame to three standard deviations instead."""


def _fit_matrix(points: Array, pixels: Array) -> NDArray[np.float64]:
    """The 3 x 4 matrix (rows counting upward) that best projects `points` `[..., 3]` (mm) on `pixels` `[..., 2]`.

    A clip's principal point can move from frame to frame; the matrix has its mean. The points are in camera space, so
    the matrix has one focal length and a principal point only.
    """
    rays = (points[..., :2] / points[..., 2:]).reshape(-1, 2).astype(np.float64)
    flat = pixels.reshape(-1, 2).astype(np.float64)
    centred, moved = rays - rays.mean(axis=0), flat - flat.mean(axis=0)
    focal = float((centred * moved).sum() / (centred * centred).sum())
    x, y = flat.mean(axis=0) - focal * rays.mean(axis=0)
    return np.array([[focal, 0, x, 0], [0, -focal, HEIGHT - y, 0], [0, 0, 1, 0]], dtype=np.float64)


def _write_h5(path: Path, key: str, values: NDArray[Any]) -> None:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingPackage("h5py", "data") from error
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset(key, data=values, compression="gzip", chunks=True)
