"""Synthetic clips rendered once: files of clips that are mapped into memory, and a data set over them.

A folder holds `identity.json` (what was rendered, by which generator) and `clips-00000.npy`, `clips-00001.npy` and
so on, each a one-dimensional structured array. A file is whole or absent, so a killed rendering goes on where it
stopped. Every clip carries a checksum over itself, the identity and its index.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from torch.utils.data import Dataset

from svf_edge.data.augment import augment
from svf_edge.data.sample import Sample
from svf_edge.data.skeleton import NUM_JOINTS
from svf_edge.data.synthetic import GENERATOR_VERSION, Clip, Motions, SyntheticPoseDataset
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.files import atomic_write, write_text

FORMAT_VERSION: Final[int] = 2
IDENTITY: Final[str] = "identity.json"


@dataclass(frozen=True)
class Identity:
    """What a cache holds; two caches with the same identity hold the same bytes."""

    split: str
    length: int
    frames: int
    height: int
    width: int
    seed: int
    clips_per_file: int
    motions: Motions = "split"
    generator: int = GENERATOR_VERSION
    format: int = FORMAT_VERSION

    @property
    def files(self) -> int:
        """Number of files."""
        return -(-self.length // self.clips_per_file)

    def indices(self, file: int) -> range:
        """Clips in `file`."""
        begin = file * self.clips_per_file
        return range(begin, min(begin + self.clips_per_file, self.length))

    def record(self) -> np.dtype[Any]:
        """The dtype of a clip."""
        t, h, w = self.frames, self.height, self.width
        fields: list[tuple[str, str, tuple[int, ...]]] = [
            ("frames", "u1", (t, 3, h, w)),
            ("joints", "<f4", (t, NUM_JOINTS, 2)),
            ("visible", "?", (t, NUM_JOINTS)),
            ("joints3d", "<f4", (t, NUM_JOINTS, 3)),
            ("label", "<i8", ()),
            ("mask", "u1", (t, h, w)),
            ("check", "<u4", ()),
        ]
        return np.dtype(fields)

    def data(self) -> SyntheticPoseDataset:
        """The clips, rendered anew."""
        return SyntheticPoseDataset(
            self.split, self.length, self.frames, (self.height, self.width), self.seed, self.motions
        )

    def checksum(self, clip: Clip, index: int) -> int:
        """CRC-32 of `clip` as the clip `index` of this cache."""
        source = [self.split, self.seed, self.generator, index, self.motions, clip.label]
        value = zlib.crc32(json.dumps(source).encode())
        for part in (clip.frames, clip.joints, clip.visible, clip.joints3d, clip.mask):
            value = zlib.crc32(part.tobytes(), value)
        return value


def render_cache(
    folder: str | Path, data: SyntheticPoseDataset, clips_per_file: int = 256, processes: int = 1, progress: bool = True
) -> Path:
    """Render all clips of `data` into `folder`, in `processes` processes; files that are there stay. Returns `folder`.

    One rendering at a time may write to a folder. Raises UnsupportedInput where `folder` holds other clips, BadFile
    where a file in it is damaged.
    """
    if clips_per_file < 1 or processes < 1:
        raise UnsupportedInput(
            f"a cache needs at least 1 clip a file and 1 process, not {clips_per_file} clips and {processes} processes"
        )
    folder = Path(folder)
    identity = Identity(data.split, data.length, data.frames, *data.size, data.seed, clips_per_file, data.kind)
    _claim(folder, identity)
    for left_over in folder.glob(".clips-*.npy"):  # of a killed process
        left_over.unlink()
    missing = []
    for file in range(identity.files):
        if _path(folder, file).exists():
            _open(folder, identity, file)
        else:
            missing.append(file)
    columns = ("rendering clips", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not (progress and missing)) as bar:
        task = bar.add_task("", total=data.length, completed=data.length - _clips(identity, missing))
        for file in _rendered(folder, identity, missing, processes):
            bar.advance(task, len(identity.indices(file)))
    return folder


class CachedPoseDataset(Dataset[Sample]):
    """The clips of a cache, `passes` times over, each pass in another order if there are several.

    With `vary`, every clip of every pass is a random variation that depends on (`seed`, item) alone. Raises BadFile,
    naming the file, where the cache is incomplete, damaged, or of another generator.
    """

    def __init__(self, folder: str | Path, passes: int = 1, vary: bool = False, seed: int = 0) -> None:
        if passes < 1:
            raise UnsupportedInput(f"a cache is read at least once, not {passes} times")
        self.folder = Path(folder)
        self.identity = _read_identity(self.folder)
        self.passes, self.vary, self.seed = passes, vary, seed
        self._files: dict[int, NDArray[np.void]] = {}
        self._order: tuple[int, NDArray[np.int64]] | None = None
        if self.identity.generator != GENERATOR_VERSION or self.identity.format != FORMAT_VERSION:
            raise BadFile(
                f"{self.folder / IDENTITY}: clips of generator version {self.identity.generator}, format "
                f"{self.identity.format}, not version {GENERATOR_VERSION}, format {FORMAT_VERSION}; render again"
            )
        for file in range(self.identity.files):
            _open(self.folder, self.identity, file)

    def __len__(self) -> int:
        return self.passes * self.identity.length

    def __getitem__(self, item: int) -> Sample:
        if not 0 <= item < len(self):
            raise IndexError(item)
        turn, place = divmod(item, self.identity.length)
        clip = self._read(int(self._shuffled(turn)[place]) if self.passes > 1 else place)
        return augment(clip, np.random.default_rng([self.seed, item])) if self.vary else clip

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}, "_order": None}  # a worker process maps the files itself

    def _shuffled(self, turn: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != turn:
            self._order = turn, np.random.default_rng([self.seed, turn]).permutation(self.identity.length)
        return self._order[1]

    def _read(self, index: int) -> Sample:
        file, place = divmod(index, self.identity.clips_per_file)
        if file not in self._files:
            self._files[file] = _open(self.folder, self.identity, file)
        stored = self._files[file][place]
        clip = Clip(
            frames=np.array(stored["frames"]),
            joints=np.array(stored["joints"]),
            visible=np.array(stored["visible"]),
            joints3d=np.array(stored["joints3d"]),
            label=int(stored["label"]),
            mask=np.array(stored["mask"]),
        )
        if self.identity.checksum(clip, index) != stored["check"]:
            raise BadFile(
                f"{_path(self.folder, file)}: clip {index} is damaged or of another data set; "
                "delete the file and render again"
            )
        return clip.sample()


def _path(folder: Path, file: int) -> Path:
    return folder / f"clips-{file:05d}.npy"


def _clips(identity: Identity, files: Sequence[int]) -> int:
    return sum(len(identity.indices(file)) for file in files)


def _claim(folder: Path, identity: Identity) -> None:
    path = folder / IDENTITY
    if not path.exists():
        write_text(path, json.dumps(asdict(identity), indent=2) + "\n")
        return
    found = _read_identity(folder)
    if found != identity:
        differing = [name for name, value in asdict(identity).items() if getattr(found, name) != value]
        raise UnsupportedInput(
            f"{path}: the folder holds other clips ({', '.join(differing)} differ); render into another folder"
        )


def _read_identity(folder: Path) -> Identity:
    path = folder / IDENTITY
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        identity = Identity(**entries)
        numbers = [value for name, value in asdict(identity).items() if name not in ("split", "motions")]
        if not all(type(number) is int for number in numbers) or min(identity.length, identity.clips_per_file) < 1:
            raise ValueError("numbers out of range")
    except (OSError, ValueError, TypeError) as error:
        raise BadFile(f"{path}: not the description of rendered clips ({error}); render into a new folder") from error
    return identity


def _open(folder: Path, identity: Identity, file: int) -> NDArray[np.void]:
    """The clips of `file`, mapped into memory; its kind and length are checked, its content is not."""
    path = _path(folder, file)
    try:
        clips: NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise BadFile(f"{path}: missing; render the clips to the end") from error
    except (OSError, ValueError, EOFError) as error:
        raise BadFile(f"{path}: damaged ({error}); delete the file and render again") from error
    if clips.dtype != identity.record() or clips.shape != (len(identity.indices(file)),):
        raise BadFile(f"{path}: of other clips than {folder / IDENTITY} says; delete the file and render again")
    return clips


def _rendered(folder: Path, identity: Identity, files: Sequence[int], processes: int) -> Iterable[int]:
    """Renders `files`, giving each as it is done."""
    if processes == 1:
        for file in files:
            yield _render_file(folder, identity, file)
        return
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])  # importing takes longer than rendering a file
    pool = ProcessPoolExecutor(processes, mp_context=context)
    try:
        for done in as_completed([pool.submit(_render_file, folder, identity, file) for file in files]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _render_file(folder: Path, identity: Identity, file: int) -> int:
    data, indices = identity.data(), identity.indices(file)
    clips = np.empty(len(indices), dtype=identity.record())
    for place, index in enumerate(indices):
        clip = data.render(index)
        clips[place] = (*clip, identity.checksum(clip, index))
    with atomic_write(_path(folder, file)) as temporary, temporary.open("wb") as out:
        np.save(out, clips, allow_pickle=False)
    return file
