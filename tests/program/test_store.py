from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from svf_edge.errors import BadFile
from svf_edge.program import load_program, run, save_program
from svf_edge.tensorfile import read_tensors, write_tensors
from tests.programs import noise_clip, random_program


def test_round_trip_runs_alike(tmp_path: Path) -> None:
    program = random_program(channels=24, reset="soft").with_meta(task="pose")
    path = tmp_path / "p.safetensors"
    save_program(program, path)
    loaded = load_program(path)
    assert loaded.meta == {"task": "pose"}
    assert loaded.types == program.types
    clip = noise_clip(program)
    for name, expected in run(program, clip).outputs.items():
        np.testing.assert_array_equal(run(loaded, clip).outputs[name], expected)


@pytest.mark.parametrize("damage", ["op", "shape", "missing", "extra"])
def test_damaged_programs_are_bad_files(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "p.safetensors"
    save_program(random_program(channels=24), path)
    header, arrays = read_tensors(path, "program")
    header = json.loads(json.dumps(header))
    first = header["nodes"][0]
    if damage == "op":
        first["op"] = "eval"
    elif damage == "shape":
        arrays[f"{first['name']}:bias"] = arrays[f"{first['name']}:bias"][:-1]
    elif damage == "missing":
        del arrays[f"{first['name']}:weight"]
    else:
        first["surprise"] = 1
    write_tensors(path, "program", {k: v for k, v in header.items() if k not in ("kind", "contract")}, arrays)
    with pytest.raises(BadFile, match=r"p\.safetensors: not a valid program"):
        load_program(path)
