"""Energy of the shipped model on the shipped clip, and operations of the published sizes.

Operations follow from shapes, so the published sizes get random weights and one frame: every count is linear in time.

python -m benchmarks.energy
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, get_args

from benchmarks.networks import random_program, shipped
from benchmarks.turns import RESULTS, conditions, store
from svf_edge.model.config import model_config
from svf_edge.runtimes.energy.counts import LayerKind, count
from svf_edge.runtimes.energy.report import energy

RESULT = RESULTS / "energy.json"
CLIPS = 2


@dataclass(frozen=True)
class Published:
    """A published figure, and what had to be assumed: `size`, frame size and `frames` are ours where the notes are
    silent."""

    task: str
    size: str
    frame_size: tuple[int, int]
    frames: int
    levels: int
    millijoules: float
    dense: str
    dense_millijoules: float


PUBLISHED = (
    Published("Kinetics-400, top-1 79.8", "55M", (224, 224), 16, 1, 412.1, "ViViT", 6651.6),
    Published("MMHPSD, 47.5 mm", "55M", (256, 256), 32, 1, 391.2, "GLoT", 4046.1),
    Published("CityScapes, 73.1 mIoU", "15M", (512, 1024), 4, 3, 65.3, "SegFormer", 270.2),
)


def operations(size: str, frame_size: tuple[int, int], merged: bool) -> dict[str, int]:
    """Multiply-accumulates of one frame by what a layer reads."""
    head = {"kind": "classification", "classes": 400, "pool": "membrane"}
    options: dict[str, Any] = {"rep_conv": "merged"} if merged else {}
    program = random_program(model_config(size, head=head, frames=1, frame_size=frame_size, **options), 0)
    counts = count(program, {lif.name: 0 for lif in program.lifs})
    return {kind: counts.of_kind(kind) for kind in get_args(LayerKind)}


def main() -> None:
    """Count and write the result file."""
    before = conditions()
    network = shipped()
    clips = {f"window {place}": clip for place, clip in enumerate(network.clips[:CLIPS])}
    report = energy(network.program, clips, network.name)
    rows = [
        {**asdict(one), "operations": {name: operations(one.size, one.frame_size, name == "merged") for name in FORMS}}
        for one in PUBLISHED
    ]
    sizes = {size: operations(size, (224, 224), merged=False) for size in ("15M", "31M", "55M")}
    store(RESULT, {**before, "shipped": report.model_dump(mode="json"), "published": rows, "frame_224": sizes})


FORMS = ("as trained", "merged")

if __name__ == "__main__":
    main()
