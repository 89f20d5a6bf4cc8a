from __future__ import annotations

import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from svf_edge.checkpoint import Checkpoint
from svf_edge.errors import BadFile, ContractMismatch
from svf_edge.tensorfile import read_tensors, write_tensors


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    saved = Checkpoint({"size": "tiny"}, {"w": torch.arange(6.0).reshape(2, 3)}, {"pck": 0.5})
    saved.save(path)
    loaded = Checkpoint.load(path)
    assert (loaded.config, loaded.meta) == ({"size": "tiny"}, {"pck": 0.5})
    assert torch.equal(loaded.state["w"], saved.state["w"])


def test_every_truncation_is_a_bad_file(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    Checkpoint({}, {"w": torch.ones(64)}).save(path)
    whole = path.read_bytes()
    for size in (0, 4, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(BadFile, match=r"c\.safetensors.*truncated"):
            Checkpoint.load(path)


def test_foreign_files_are_named(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": np.ones(3)}, foreign)
    with pytest.raises(BadFile, match="not one of svf-edge"):
        read_tensors(foreign, "checkpoint")
    pickle = tmp_path / "model.pt"
    torch.save({"w": torch.ones(3)}, pickle)
    with pytest.raises(BadFile, match="not a readable safetensors file"):
        read_tensors(pickle, "checkpoint")
    with pytest.raises(BadFile, match="no such file"):
        read_tensors(tmp_path / "absent", "program")


def test_kind_and_version_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.safetensors"
    Checkpoint({}, {"w": torch.ones(1)}).save(path)
    with pytest.raises(BadFile, match=r"holds a checkpoint, a program is needed.*svf-edge freeze"):
        read_tensors(path, "program")
    monkeypatch.setattr("svf_edge.tensorfile.NUMERIC_VERSION", 99)
    write_tensors(path, "checkpoint", {}, {"w": np.ones(1)})
    monkeypatch.undo()
    with pytest.raises(ContractMismatch, match=r"numeric contract version is 99.*reads 1"):
        Checkpoint.load(path)


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(BadFile, match=r"c\.safetensors: could not be written"):
            write_tensors(path, "checkpoint", {}, {"w": np.ones(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    Checkpoint({}, {"w": torch.ones(1)}).save(path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_tensors(path, "checkpoint", {"meta": object()}, {})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]
