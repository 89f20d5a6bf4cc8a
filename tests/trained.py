"""Integer programs of really trained networks, a task each, and clips that their training never showed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from svf_edge.data.sample import Sample, stack_samples
from svf_edge.data.synthetic import Motions, SyntheticPoseDataset
from svf_edge.program import Program
from svf_edge.shipped import NARROW_PROGRAM, PROGRAM

_ASSETS = Path(__file__).parent / "assets"  # its README says how they were made

TRAINED: Final[Mapping[str, Path]] = {
    "pose, 4 levels": PROGRAM,
    "pose, weights of 4 bits": NARROW_PROGRAM,
    "classification, 3 levels": _ASSETS / "action-small.program.safetensors",
    "classification, binary": _ASSETS / "action-small-binary.program.safetensors",
    "segmentation, 3 levels": _ASSETS / "parts-small.program.safetensors",
    "segmentation, binary": _ASSETS / "parts-small-binary.program.safetensors",
}


def held_out(program: Program, count: int) -> Sample:
    """`count` rendered clips with the labels of the program's task."""
    motions: Motions = "classes" if program.outputs[0].name == "classification" else "split"
    shape = program.frames.shape
    return stack_samples(SyntheticPoseDataset("val", count, shape[0], shape[2:], motions=motions))
