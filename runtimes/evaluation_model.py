"""Anything that can be evaluated behind one door: checkpoints in PyTorch, programs and bundles on a runtime."""

from __future__ import annotations

import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from svf_edge.data.events import EventCamera
from svf_edge.errors import BadFile, SvfError, UnsupportedInput
from svf_edge.model.config import ModelConfig, Pose3dHead, PoseHead, SegmentationHead
from svf_edge.program import Program, load_program
from svf_edge.runtimes.base import Runtime, Session
from svf_edge.runtimes.registry import RUNTIMES, find_runtime
from svf_edge.tasks.evaluation import Prediction, predict
from svf_edge.tasks.registry import make_task
from svf_edge.tasks.task import Task

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle
    from svf_edge.model.network import SpikeVideoFormer

TORCH = "torch"
PREFERRED = ("onnxruntime packed", "onnxruntime portable", "reference")
"""Where a program or bundle runs if nothing else is asked for: the first that can."""

_TARGETS = {"onnxruntime": "onnx", "executorch": "executorch", "tensorrt": "tensorrt"}

Count = Callable[[int], None]


@dataclass(frozen=True)
class Subject(ABC):
    """A loaded model: what it is, where it runs, the clips it takes, and the meta of its file."""

    kind: str
    runtime: str
    config: ModelConfig
    frames: int
    meta: dict[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames it takes."""
        return self.config.frame_size

    @property
    def task(self) -> Task:
        """What it is for, with the names of its classes where the file holds them."""
        return make_task(self.config, self.meta.get("classes", ()))

    @property
    def camera(self) -> EventCamera | None:
        """The event camera that it was trained with, None for one that takes pixels.

        Raises `UnsupportedInput` where the file does not say which.
        """
        if self.config.input == "pixels":
            return None
        source = self.meta.get("training", {}).get("data", {})
        if not source.get("events"):
            raise UnsupportedInput(
                f"the model takes {self.config.channels} channels of events and does not record a camera that clips "
                "could be seen with; evaluate one that was trained on simulated events"
            )
        return EventCamera.model_validate(source["events"])

    @abstractmethod
    def predict(self, frames: Tensor, progress: Count) -> Prediction:
        """What it sees in clips uint8 `[N, T, C, H, W]`; `progress` is told how many clips are done."""


@dataclass(frozen=True)
class _Network(Subject):
    model: SpikeVideoFormer

    def predict(self, frames: Tensor, progress: Count) -> Prediction:
        return predict(self.model, self.task, frames, progress=progress)


@dataclass(frozen=True)
class _Running(Subject):
    program: Program
    session: Session
    tapped: bool

    def predict(self, frames: Tensor, progress: Count) -> Prediction:
        (output,) = self.program.outputs
        exponent = self.program.types[output.source].exponent
        task = self.task
        values: list[Tensor] = []
        fired = dict.fromkeys((lif.name for lif in self.program.lifs), 0) if self.tapped else {}
        for done, clip in enumerate(frames.numpy(), 1):
            result = self.session.run(clip)
            scores = result.outputs[output.name]
            maps = isinstance(self.config.head, SegmentationHead)
            values.append(task.read(scores if maps else scores[..., 0, 0], exponent))
            for name in fired:
                fired[name] += int(np.bitwise_count(result.spikes[name].view(np.uint32)).sum())
            progress(done)
        levels = {lif.name: lif.levels for lif in self.program.lifs}
        rates = {
            name: count / (len(frames) * levels[name] * int(np.prod(self.program.types[name].shape)))
            for name, count in fired.items()
        }
        return Prediction(torch.stack(values), rates)


@contextmanager
def open_subject(path: str | Path, runtime: str | None = None, threads: int = 1) -> Iterator[Subject]:
    """The model at `path`: a float or quantised checkpoint, a program, or a bundle folder.

    `runtime` is the name of a runtime, the start of one ("onnxruntime"), or "torch" for checkpoints, their default; a
    quantised checkpoint on another runtime is frozen, and a program exported, for the time being.

    Raises `BadFile`, `UnsupportedInput` for a runtime that cannot run it or a head of other joints than the clips
    have, and what the exporter and the runtime raise.
    """
    path = Path(path)
    if path.is_dir():
        from svf_edge.export.bundle import Bundle

        bundle = Bundle.open(path)
        with _on_runtime("bundle", bundle.program(), runtime, threads, bundle) as subject:
            yield subject
        return
    if _holds_program(path):
        with _on_runtime("program", load_program(path), runtime, threads) as subject:
            yield subject
        return
    from svf_edge.model_store import load_model
    from svf_edge.quant import is_quantised

    model, meta = load_model(path)
    _require_joints(model.config, path)
    quantised = is_quantised(model)
    if runtime in (None, TORCH):
        kind = "quantised checkpoint" if quantised else "float checkpoint"
        torch.set_num_threads(threads)
        yield _Network(kind, TORCH, model.config, model.config.frames, meta, model)
        return
    if not quantised:
        raise UnsupportedInput(
            f"{path}: a float checkpoint runs in torch only, not on '{runtime}'; give the quantised model.safetensors"
        )
    from svf_edge.program.freeze import freeze

    with _on_runtime("quantised checkpoint", freeze(model, meta=meta), runtime, threads) as subject:
        yield subject


def _holds_program(path: Path) -> bool:
    """Whether the file can be read and says that it holds a program; loading names what is wrong with any other."""
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("svf_edge", "{}"))
    except (SafetensorError, OSError, ValueError):
        return False
    return isinstance(header, dict) and header.get("kind") == "program"


@contextmanager
def _on_runtime(
    kind: str, program: Program, name: str | None, threads: int, bundle: Bundle | None = None
) -> Iterator[Subject]:
    config = _config_of(program)
    failure: SvfError | None = None
    for runtime in _candidates(name):
        try:
            host = bundle if bundle is not None else _temporary(program, runtime)
            why = runtime.available(host)
            if why is not None:
                raise UnsupportedInput(f"'{runtime.name}' cannot run it: {why}; choose another --runtime")
            tapped = runtime.name == "reference"
            session = runtime.open(host, threads=threads, taps=tapped)
        except SvfError as error:
            failure = failure or error
            continue
        with session:
            steps = program.frames.shape[0]
            yield _Running(kind, runtime.name, config, steps, dict(program.meta), program, session, tapped)
        return
    assert failure is not None
    raise failure


def _candidates(name: str | None) -> list[Runtime]:
    if name is None:
        return [RUNTIMES[preferred] for preferred in PREFERRED]
    if name == TORCH:
        raise UnsupportedInput("torch runs checkpoints, not programs and bundles; choose another --runtime")
    if name in _TARGETS and name not in RUNTIMES:
        return [runtime for runtime in RUNTIMES.values() if runtime.name.startswith(f"{name} ")]
    return [find_runtime(name)]


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Holds bundles until the process ends: a library that was loaded from one serves the next."""
    return tempfile.TemporaryDirectory(prefix="svf-edge-")


def _temporary(program: Program, runtime: Runtime) -> Bundle:
    """`program` as a bundle for `runtime` alone."""
    from svf_edge.export.bundle import write_bundle

    folder = Path(tempfile.mkdtemp(dir=_scratch().name)) / "bundle"
    targets = [target for prefix, target in _TARGETS.items() if runtime.name.startswith(prefix)]
    return write_bundle(program, folder, {}, targets=targets)


def _config_of(program: Program) -> ModelConfig:
    """The configuration of the model that a program was frozen from. Raises `BadFile` where it was not recorded."""
    try:
        config = ModelConfig.model_validate(program.meta.get("model"))
    except ValidationError as error:
        raise BadFile(
            "the program does not record the model it was frozen from, so its output cannot be read; make "
            "it again with `svf-edge freeze`"
        ) from error
    _require_joints(config, "the program")
    return config


def _require_joints(config: ModelConfig, where: str | Path) -> None:
    from svf_edge.data.skeleton import NUM_JOINTS

    if isinstance(config.head, PoseHead | Pose3dHead) and config.head.joints != NUM_JOINTS:
        raise UnsupportedInput(
            f"{where}: a head of {config.head.joints} joints is not evaluated; give a model of {NUM_JOINTS} joints"
        )
