import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from svf_edge.data import cache
from svf_edge.data.cache import IDENTITY, CachedPoseDataset, render_cache
from svf_edge.data.sample import Sample, stack_samples
from svf_edge.data.synthetic import SyntheticPoseDataset
from svf_edge.errors import BadFile, UnsupportedInput

FIELDS = ("frames", "joints", "visible", "joints3d", "label", "mask")


def clips(length: int = 10, seed: int = 3) -> SyntheticPoseDataset:
    return SyntheticPoseDataset("train", length, frames=2, size=(24, 32), seed=seed)


def same(one: Sample, two: Sample) -> bool:
    return all(torch.equal(one[name], two[name]) for name in FIELDS)  # type: ignore[literal-required]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_cache(tmp_path_factory.mktemp("cache"), clips(), clips_per_file=4, progress=False)


def test_a_cached_clip_is_the_rendered_clip(rendered: Path) -> None:
    cached, direct = CachedPoseDataset(rendered), clips()
    assert len(cached) == 10
    assert all(same(cached[i], direct[i]) for i in range(10))
    assert cached[0]["frames"].dtype == torch.uint8 and cached[0]["label"].dtype == torch.int64
    assert same(stack_samples(cached), next(iter(DataLoader(cached, batch_size=10))))


def test_two_processes_write_the_bytes_of_one(rendered: Path, tmp_path: Path) -> None:
    render_cache(tmp_path, clips(), clips_per_file=4, processes=2, progress=False)
    assert content(tmp_path) == content(rendered)


def _render_slowly(folder: str) -> None:
    real = cache._render_file

    def slow(*arguments: object) -> int:
        time.sleep(0.2)
        return real(*arguments)  # type: ignore[arg-type]

    cache._render_file = slow  # type: ignore[assignment]
    render_cache(folder, clips(), clips_per_file=4, progress=False)


def test_a_killed_rendering_goes_on_at_the_missing_file(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = multiprocessing.get_context("fork").Process(target=_render_slowly, args=(str(tmp_path),))
    process.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "clips-00000.npy").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / "clips-00002.npy").exists()
    with pytest.raises(BadFile, match=r"clips-0000\d\.npy: missing"):
        CachedPoseDataset(tmp_path)
    (tmp_path / ".clips-00001.npy.half.npy").write_bytes(b"half a file")
    kept = (tmp_path / "clips-00000.npy").stat().st_mtime_ns
    render_cache(tmp_path, clips(), clips_per_file=4, progress=False)
    assert content(tmp_path) == content(rendered)
    assert (tmp_path / "clips-00000.npy").stat().st_mtime_ns == kept
    monkeypatch.setattr(cache, "_render_file", None)  # nothing is left to render
    render_cache(tmp_path, clips(), clips_per_file=4, progress=False)


@pytest.fixture
def copy(rendered: Path, tmp_path: Path) -> Path:
    for name, data in content(rendered).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("keep", [0, 50, 5000])
def test_a_truncated_file_is_named(copy: Path, keep: int) -> None:
    path = copy / "clips-00001.npy"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadFile, match=r"clips-00001\.npy: damaged"):
        CachedPoseDataset(copy)
    with pytest.raises(BadFile, match=r"clips-00001\.npy: damaged"):
        render_cache(copy, clips(), clips_per_file=4, progress=False)


def test_a_flipped_bit_is_named(copy: Path) -> None:
    path = copy / "clips-00001.npy"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    cached = CachedPoseDataset(copy)
    assert same(cached[0], clips()[0])
    with pytest.raises(BadFile, match=r"clips-00001\.npy: clip \d is damaged"):
        [cached[i] for i in range(4, 8)]


def test_a_file_of_another_seed_or_place_or_kind_is_named(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = render_cache(tmp_path_factory.mktemp("other"), clips(seed=4), clips_per_file=4, progress=False)
    first = (copy / "clips-00000.npy").read_bytes()
    (copy / "clips-00000.npy").write_bytes((other / "clips-00000.npy").read_bytes())
    with pytest.raises(BadFile, match=r"clips-00000\.npy: clip 0 is damaged or of another data set"):
        CachedPoseDataset(copy)[0]
    (copy / "clips-00001.npy").write_bytes(first)
    with pytest.raises(BadFile, match=r"clips-00001\.npy: clip 4"):
        CachedPoseDataset(copy)[4]
    np.save(copy / "clips-00000.npy", np.zeros(4))
    with pytest.raises(BadFile, match=r"clips-00000\.npy: of other clips"):
        CachedPoseDataset(copy)


def test_a_folder_of_other_clips_is_refused(copy: Path) -> None:
    before = content(copy)
    with pytest.raises(UnsupportedInput, match=r"seed, clips_per_file differ"):
        render_cache(copy, clips(seed=5), clips_per_file=5, progress=False)
    assert content(copy) == before


@pytest.mark.parametrize("text", ["", "[]", '{"split": "train"}', "{}", "null"])
def test_a_damaged_description_is_named(copy: Path, text: str) -> None:
    (copy / IDENTITY).write_text(text)
    with pytest.raises(BadFile, match=IDENTITY):
        CachedPoseDataset(copy)


def test_clips_of_another_generator_are_refused(copy: Path) -> None:
    entries = json.loads((copy / IDENTITY).read_text())
    (copy / IDENTITY).write_text(json.dumps(entries | {"generator": entries["generator"] - 1}))
    with pytest.raises(BadFile, match="generator version"):
        CachedPoseDataset(copy)


def test_passes_shuffle_and_variations_depend_on_seed_and_item_alone(rendered: Path) -> None:
    plain = CachedPoseDataset(rendered, passes=2)
    seen = torch.stack([plain[i]["joints"] for i in range(20)])
    stored = stack_samples(clips())["joints"]
    order = [[int((stored == j).flatten(1).all(1).nonzero()) for j in half] for half in (seen[:10], seen[10:])]
    assert sorted(order[0]) == sorted(order[1]) == list(range(10)) and order[0] != order[1]

    varied = CachedPoseDataset(rendered, passes=3, vary=True, seed=1)
    again = CachedPoseDataset(rendered, passes=30, vary=True, seed=1)
    loader = DataLoader(varied, batch_size=30, num_workers=1)
    batch = next(iter(loader))
    assert all(same({k: v[i] for k, v in batch.items()}, again[i]) for i in reversed(range(30)))  # type: ignore[arg-type]
    assert not same(varied[0], CachedPoseDataset(rendered, passes=3, vary=True, seed=2)[0])
    with pytest.raises(IndexError):
        varied[30]


@pytest.mark.parametrize("bad", [{"clips_per_file": 0}, {"processes": 0}])
def test_bad_numbers_are_refused(tmp_path: Path, bad: dict[str, int]) -> None:
    with pytest.raises(UnsupportedInput):
        render_cache(tmp_path, clips(), progress=False, **bad)
    with pytest.raises(UnsupportedInput):
        CachedPoseDataset(tmp_path, passes=0)
