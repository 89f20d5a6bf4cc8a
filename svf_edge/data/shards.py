"""Clips in shards: tar files of thousands of them, which a file system or an object store serves well.

A folder holds `shards.json` (what was cut into them), `train-00000.tar`, `val-00000.tar` and so on in the layout that
WebDataset readers know, and beside every shard its index. Clip 17 is two members: `00000017.jpg`, its frames one below
the other, and `00000017.npz`, all its labels. The index says where they lie and how they hash, so a clip is read by two
calls at any place, and a training run shuffles all clips, shares them out among processes and goes on where it stopped.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch.utils.data import Dataset

from svf_edge.data.formats.clips import SPLITS
from svf_edge.data.sample import Sample
from svf_edge.errors import BadFile, MissingPackage, UnsupportedInput
from svf_edge.files import atomic_write, write_text

DESCRIPTION: Final = "shards.json"
FORMAT: Final = 1
_INDEX: Final = np.dtype([("jpg", "<i8", (2,)), ("npz", "<i8", (2,)), ("crc", "<u4")])
"""Offset and length of both members, and the CRC-32 of one after the other."""

Count = Annotated[int, Field(ge=1)]


class Description(BaseModel):
    """What lies in a folder of shards. `clips` counts those of every split; `source` says what they were cut from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    frames: Count
    height: Count
    width: Count
    per_shard: Count
    quality: Annotated[int, Field(ge=1, le=100)]
    clips: Mapping[str, Annotated[int, Field(ge=0)]]
    source: Mapping[str, Any]

    def shards(self, split: str) -> int:
        """Number of shards of a split."""
        return -(-self.clips[split] // self.per_shard)

    def indices(self, split: str, shard: int) -> range:
        """Clips in a shard."""
        return range(shard * self.per_shard, min((shard + 1) * self.per_shard, self.clips[split]))


def write_shards(
    splits: Mapping[str, Dataset[Sample]],
    folder: str | Path,
    description: Description,
    part: tuple[int, int] = (0, 1),
) -> int:
    """Cut clips of RGB frames into shards below `folder`; gives the number that was written.

    Shards that are there stay, so a killed run goes on. `part` (i, n) writes every n-th shard from the i-th on, for n
    processes or machines side by side. Raises `UnsupportedInput` where the folder holds other clips, and what the data
    set raises.
    """
    folder = Path(folder)
    _claim(folder, description)
    written = 0
    places = [(split, shard) for split in SPLITS for shard in range(description.shards(split))]
    for split, shard in places[part[0] :: part[1]]:
        if not _index_path(folder, split, shard).exists():
            _write_shard(
                splits[split], _path(folder, split, shard), description.indices(split, shard), description.quality
            )
            written += 1
    return written


class ShardDataset(Dataset[Sample]):
    """The clips of a split, by number. Raises `BadFile`, naming the shard, where one is missing or damaged."""

    def __init__(self, folder: str | Path, split: str) -> None:
        if split not in SPLITS:
            raise UnsupportedInput(f"data split '{split}' does not exist; use one of {', '.join(SPLITS)}")
        self.folder, self.split = Path(folder), split
        self.description = read_description(folder)
        self._index = [self._read_index(shard) for shard in range(self.description.shards(split))]
        self._files: dict[int, int] = {}

    def __len__(self) -> int:
        return self.description.clips[self.split]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard, place = divmod(index, self.description.per_shard)
        path, entry = _path(self.folder, self.split, shard), self._index[shard][place]
        if shard not in self._files:
            self._files[shard] = os.open(path, os.O_RDONLY)
        jpg, npz = (
            os.pread(self._files[shard], int(length), int(offset)) for offset, length in (entry["jpg"], entry["npz"])
        )
        if zlib.crc32(npz, zlib.crc32(jpg)) != entry["crc"]:
            raise BadFile(f"{path}: clip {index} is damaged; delete the shard with its index and cut it again")
        about = self.description
        fields = {"frames": _frames(jpg, about.frames, about.height, about.width, f"{path}: clip {index}")}
        fields |= _labels(npz, f"{path}: clip {index}")
        return cast(Sample, {name: torch.from_numpy(value) for name, value in fields.items()})

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}  # a worker process opens the files itself

    def __del__(self) -> None:
        for handle in getattr(self, "_files", {}).values():
            os.close(handle)

    def _read_index(self, shard: int) -> NDArray[np.void]:
        path = _path(self.folder, self.split, shard)
        index = _index_path(self.folder, self.split, shard)
        if not path.is_file():
            raise BadFile(f"{path}: missing; cut the clips to the end with `svf-edge data shard`")
        try:
            entries: NDArray[np.void] = np.load(index, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadFile(f"{index}: missing or damaged; delete it with its shard and cut it again") from error
        clips, size = len(self.description.indices(self.split, shard)), path.stat().st_size
        if entries.dtype != _INDEX or entries.shape != (clips,):
            raise BadFile(f"{index}: of other clips than {DESCRIPTION} says; delete it with its shard and cut it again")
        if any((entries[part].min() < 0) or (entries[part].sum(1).max() > size) for part in ("jpg", "npz")):
            raise BadFile(f"{path}: shorter than its index says; delete it with its index and cut it again")
        return entries


def read_description(folder: str | Path) -> Description:
    """What a folder of shards holds. Raises `BadFile`."""
    path = Path(folder) / DESCRIPTION
    try:
        found = Description.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise BadFile(f"{path}: missing, or no description of shards; cut clips with `svf-edge data shard`") from error
    if found.format != FORMAT or set(found.clips) != set(SPLITS):
        raise BadFile(f"{path}: shards of format {found.format}, this release reads {FORMAT}; cut the clips again")
    return found


def _claim(folder: Path, description: Description) -> None:
    path = folder / DESCRIPTION
    if path.exists():
        held = read_description(folder)
        if held != description:
            differing = [name for name in Description.model_fields if getattr(held, name) != getattr(description, name)]
            raise UnsupportedInput(
                f"{path}: the folder holds other clips ({', '.join(differing)} differ); give a new one"
            )
        return
    write_text(path, json.dumps(description.model_dump(mode="json"), indent=1) + "\n")


def _write_shard(clips: Dataset[Sample], path: Path, indices: Sequence[int], quality: int) -> None:
    index = np.empty(len(indices), _INDEX)
    with atomic_write(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for place, number in enumerate(indices):
            sample = cast(Mapping[str, torch.Tensor], clips[number])
            members = {
                "jpg": _jpeg(sample["frames"].numpy(), quality),
                "npz": _npz({name: value.numpy() for name, value in sample.items() if name != "frames"}),
            }
            for kind, content in members.items():
                member = tarfile.TarInfo(f"{number:08d}.{kind}")
                member.size = len(content)
                index[place][kind] = (tar.offset + tarfile.BLOCKSIZE, len(content))
                tar.addfile(member, io.BytesIO(content))
            index[place]["crc"] = zlib.crc32(members["npz"], zlib.crc32(members["jpg"]))
    with atomic_write(path.with_suffix(".index.npy")) as temporary, temporary.open("wb") as out:
        np.save(out, index, allow_pickle=False)


def _jpeg(frames: NDArray[np.uint8], quality: int) -> bytes:
    """Frames `[T, 3, H, W]` one below the other."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingPackage("pillow", "data") from error
    if frames.shape[1] != 3:
        raise UnsupportedInput(f"clips of {frames.shape[1]} channels: shards hold RGB; keep event files as they are")
    steps, _, height, width = frames.shape
    column = np.ascontiguousarray(frames.transpose(0, 2, 3, 1)).reshape(steps * height, width, 3)
    target = io.BytesIO()
    Image.fromarray(column).save(target, "JPEG", quality=quality, subsampling=0)
    return target.getvalue()


def _frames(content: bytes, steps: int, height: int, width: int, where: str) -> NDArray[np.uint8]:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingPackage("pillow", "data") from error
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if image.size != (width, steps * height):
                raise BadFile(f"{where} is {image.width}x{image.height}, not of the size that {DESCRIPTION} says")
            column = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadFile(f"{where} holds no readable picture ({error}); cut the shard again") from error
    return np.ascontiguousarray(column.reshape(steps, height, width, 3).transpose(0, 3, 1, 2))


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    target = io.BytesIO()
    np.savez(target, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    return target.getvalue()


def _labels(content: bytes, where: str) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise BadFile(f"{where} has compressed labels, which shards never have; cut the shard again")
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: np.array(stored[name]) for name in stored.files}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise BadFile(f"{where} has no readable labels ({error}); cut the shard again") from error


def _path(folder: Path, split: str, shard: int) -> Path:
    return folder / f"{split}-{shard:05d}.tar"


def _index_path(folder: Path, split: str, shard: int) -> Path:
    return _path(folder, split, shard).with_suffix(".index.npy")
