"""A run: stages that each leave one checkpoint in the run's folder, so that a killed run goes on with the next."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import platform
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from rich import get_console
from torch import Tensor

from svf_edge.calib.batchnorm import reestimate
from svf_edge.calib.exponents import inner_exponents
from svf_edge.calib.unfolding import unfold
from svf_edge.data.sample import Sample, stack_samples, stretch
from svf_edge.data.synthetic import GENERATOR_VERSION
from svf_edge.errors import BadFile, SvfError, UnsupportedInput
from svf_edge.files import atomic_write, write_text
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.model.neurons import fused_neurons
from svf_edge.model_store import load_model, save_model
from svf_edge.quant import expand_weight_bits, is_quantised, quantise
from svf_edge.tasks.evaluation import evaluate
from svf_edge.training.clips import class_names, dataset, first_clips, validation_clips
from svf_edge.training.history import History
from svf_edge.training.module import TaskTraining
from svf_edge.training.start import first_model, make_alive
from svf_edge.training.terms import loss_terms
from svf_edge.training_config import PhaseName, TrainConfig


@dataclass(frozen=True)
class Run:
    """What every stage of a run works with."""

    config: TrainConfig
    folder: Path
    validation: Sample
    names: tuple[str, ...]
    history: History

    def calibration(self) -> Iterator[Tensor]:
        """The first training clips in batches `[B, T, C, H, W]`."""
        return iter(first_clips(self.config)["frames"].split(self.config.batch_size))


@dataclass(frozen=True)
class Stage:
    """Makes `folder/<name>.safetensors` from the checkpoint of the stage before.

    `fit` runs on every process and gives the trained model; `finish` runs on the first process alone and gives what
    is saved, with further meta. Both see the run as `view` gives it.
    """

    name: str
    title: str
    fit: Callable[[Run, Path | None], SpikeVideoFormer]
    finish: Callable[[Run, SpikeVideoFormer, dict[str, Any]], tuple[SpikeVideoFormer, dict[str, Any]]]
    view: Callable[[Run], Run] = lambda run: run


def _on_images(run: Run) -> Run:
    """The run on clips of one frame."""
    return replace(run, config=run.config.on_images(), validation=stretch(run.validation, 0, 1))


def _as_dense(run: Run) -> Run:
    """The run of the dense twin on clips of one frame."""
    return replace(_on_images(run), config=run.config.as_dense())


def _load(_: Run, before: Path | None) -> SpikeVideoFormer:
    assert before is not None
    return load_model(before)[0]


def _fit_phase(name: PhaseName) -> Callable[[Run, Path | None], SpikeVideoFormer]:
    """A float phase from the weights of the one before, which fit any neuron and any number of frames."""

    def fit_phase(run: Run, before: Path | None) -> SpikeVideoFormer:
        model = start_model(run.config)
        if before is not None:
            source, _ = load_model(before)
            model.load_state_dict(source.state_dict())
            if source.config.neuron != model.config.neuron:
                make_alive(model, first_clips(run.config)["frames"][: run.config.batch_size])
        return fit(run, model, name)

    return fit_phase


def _finish_float(run: Run, model: SpikeVideoFormer, _: dict[str, Any]) -> tuple[SpikeVideoFormer, dict[str, Any]]:
    reestimate(model, run.calibration())
    return model, {}


def _finish_fold(run: Run, model: SpikeVideoFormer, meta: dict[str, Any]) -> tuple[SpikeVideoFormer, dict[str, Any]]:
    bits = expand_weight_bits(model, 8, run.config.weight_bits)
    return quantise(model, inner_exponents(model, run.calibration()), bits), {"float": meta["metrics"]}


def _fit_qat(run: Run, before: Path | None) -> SpikeVideoFormer:
    lightning.seed_everything(run.config.seed + 1, verbose=False)
    return fit(run, _load(run, before), "qat")


def _finish_qat(_: Run, model: SpikeVideoFormer, meta: dict[str, Any]) -> tuple[SpikeVideoFormer, dict[str, Any]]:
    return model, {"float": meta["float"], "post_training_quantisation": meta["metrics"]}


def stages(config: TrainConfig) -> list[Stage]:
    """The stages of a run, in order; those of a dense twin end with float training."""
    dense, image, float_, qat = (
        f"{config.phases[name].epochs if name in config.phases else 0} epochs" for name in get_args(PhaseName)
    )
    every = [
        Stage("dense", f"float training of the dense twin, {dense}", _fit_phase("dense"), _finish_float, _as_dense),
        Stage("image", f"float training on single frames, {image}", _fit_phase("image"), _finish_float, _on_images),
        Stage("float", f"float training, {float_}", _fit_phase("float"), _finish_float),
        Stage("folded", "folding and calibration", _load, _finish_fold),
        Stage("model", f"quantisation-aware training, {qat}", _fit_qat, _finish_qat),
    ]
    left_out = {"dense", "image"} - set(config.phases)
    if config.model.neuron != "lif":
        left_out |= {"folded", "model"}
    return [stage for stage in every if stage.name not in left_out]


def train(config: TrainConfig, folder: str | Path) -> Path:
    """Train into `folder` and return the path of the quantised checkpoint, `folder/model.safetensors`.

    A dense twin ends with float training: the path is that of `folder/float.safetensors`.

    A run that was interrupted goes on from its last finished epoch when called again with the same configuration, and
    ends with the very weights of one that was not. Also left there: `float.safetensors`, `folded.safetensors`,
    `config.json`, `metrics.json` and `.csv`, and where matplotlib is installed `curves.png`, `rates.png` and
    `examples.png`. With several processes every one calls this, and all of them see `folder`.

    Raises `UnsupportedInput` when no clips can be rendered for the model or `folder` holds a run with another
    configuration, `BadFile` when a file of the run or the teacher is damaged, and `SvfError` when the loss is not
    finite or a layer cannot be made to fire.
    """
    folder = Path(folder)
    if config.initial is not None:
        load_model(config.initial)  # or minutes of rendering end with a file that is missing
    # What cannot be built, quantised, rendered or taught must not claim the folder.
    expand_weight_bits(SpikeVideoFormer(config.model), 8, config.weight_bits)
    names = class_names(config)
    clips = validation_clips(config)
    dataset("train", config.calibration_clips, config, config.stream_chunks)
    for phase in config.phases.values():
        loss_terms(config, phase)
    if config.initial is not None:
        start_model(config)
    _claim(folder, config)
    _clean(folder)
    torch.set_num_threads(config.threads)
    order = stages(config)
    paths = [folder / f"{stage.name}.safetensors" for stage in order]
    if paths[-1].exists():
        _announce(f"{paths[-1]} is there already: nothing to do")
        return paths[-1]
    if config.pictures and not importlib.util.find_spec("matplotlib"):
        _announce("no pictures: matplotlib is not installed (pip install 'svf-edge[report]')")
    run = Run(config, folder, stack_samples(clips), names, History(folder))
    before: Path | None = None
    for number, (stage, path) in enumerate(zip(order, paths, strict=True), 1):
        if not path.exists():
            _announce(f"{number}/{len(order)} {stage.title}")
            view = stage.view(run)
            model = stage.fit(view, before)
            if _is_first():
                meta = {} if before is None else load_model(before)[1]
                _save(view, *stage.finish(view, model, meta), path)
            else:
                _wait_for(path)
        before = path
    return paths[-1]


def start_model(config: TrainConfig) -> SpikeVideoFormer:
    """The model a run starts from: with the weights of `initial`, or untrained.

    An untrained one is seeded, its head at the marginal distribution of the labels, every layer firing. Where `initial`
    has another head (of another task, or for other classes), its backbone is taken and the head is untrained. Raises
    `BadFile` for a checkpoint of other layers.
    """
    if config.initial is None:
        return first_model(config, first_clips(config))
    source, _ = load_model(config.initial)
    if is_quantised(source):
        source = unfold(source, first_clips(config)["frames"].split(config.batch_size))
    same_head = source.config.head == config.model.head
    model = SpikeVideoFormer(config.model) if same_head else first_model(config, first_clips(config))
    part, weights = (model, source) if same_head else (model.backbone, source.backbone)
    try:
        part.load_state_dict(weights.state_dict())
    except RuntimeError as error:
        raise BadFile(
            f"{config.initial}: its layers are not those of {config.name}; give a float checkpoint (float.safetensors) "
            "of a model with the same sizes"
        ) from error
    return model


def fit(run: Run, model: SpikeVideoFormer, name: PhaseName) -> SpikeVideoFormer:
    """Train `model` for one phase, from its last finished epoch if there is one; gives the model to keep."""
    config, folder = run.config, run.folder / name
    phase = config.phases[name]
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # device lists and tips say nothing here
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # a resumed run
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")  # between Lightning and torch
    task = TaskTraining(
        model.train(),
        config,
        phase,
        name=name,
        terms=loss_terms(config, phase),
        validation=run.validation,
        names=run.names,
        history=run.history,
    )
    trainer = lightning.Trainer(
        default_root_dir=folder,
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy=config.strategy,
        precision="32-true" if is_quantised(model) else config.precision,
        sync_batchnorm=config.sync_batchnorm,
        use_distributed_sampler=False,  # the task's sampler shares clips out itself
        max_epochs=phase.epochs,
        gradient_clip_val=1.0,
        logger=False,
        plugins=[_AtomicCheckpoints()],
        callbacks=[
            _Progress(),
            ModelCheckpoint(folder, filename="last", save_top_k=1, every_n_epochs=1, enable_version_counter=False),
        ],
        enable_model_summary=False,
    )
    last = folder / "last.ckpt"
    resumed = _readable(last, task) if last.exists() else None
    on_interrupt = signal.getsignal(signal.SIGINT)
    _keep_memory()
    try:
        with fused_neurons() if config.fused_neurons else nullcontext():
            trainer.fit(task, ckpt_path=resumed, weights_only=True)
    except SystemExit:  # Lightning ends the process, with SIGINT ignored
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from None
    return task.kept.cpu()


def _keep_memory() -> None:
    """Ask the C library to keep freed memory: a step's large buffers would else be mapped and zeroed anew every time,
    which takes a CPU a tenth of the step."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc
        trim_threshold, mmap_threshold, most = -1, -3, 2**30
        libc.mallopt(mmap_threshold, most)
        libc.mallopt(trim_threshold, 2**31 - 1)


class _Progress(RichProgressBar):
    """Lightning's bar without the number of the log folder, which looks like a result."""

    def get_metrics(self, trainer: Any, pl_module: Any) -> Any:
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


class _AtomicCheckpoints(TorchCheckpointIO):
    """Resume files that are whole or absent, on every file system (Lightning moves them in from /tmp)."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with atomic_write(path) as temporary:
            torch.save(checkpoint, temporary)


def _readable(last: Path, task: TaskTraining) -> Path:
    """`last` if it is a checkpoint of `task`; whatever a damaged file makes torch raise becomes `BadFile`."""
    try:
        state = torch.load(last, map_location="cpu", weights_only=True)
        task.load_state_dict(state["state_dict"])
        missing = {"epoch", "loops", "optimizer_states", "lr_schedulers"} - state.keys()
    except Exception as error:
        raise BadFile(f"{last}: damaged; delete it to start this phase again") from error
    if missing:
        raise BadFile(f"{last}: damaged (no {', '.join(sorted(missing))}); delete it to start this phase again")
    _announce(f"{last}: going on after epoch {state['epoch'] + 1} of {task.phase.epochs}")
    return last


def _save(run: Run, model: SpikeVideoFormer, history: dict[str, Any], path: Path) -> None:
    result = evaluate(model.eval(), run.validation, run.config.batch_size)
    meta = {
        "training": run.config.model_dump(mode="json"),
        "generator_version": GENERATOR_VERSION,
        **({"classes": list(run.names)} if run.names else {}),
        "metrics": result.metrics,
        "firing_rates": result.rates,
        "training_seconds": run.history.seconds,
        "hardware": _hardware(),
        **history,
    }
    save_model(model, path, meta)


def _hardware() -> str:
    """What the run computed on, in words."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"{platform.machine()} CPU, {os.cpu_count()} cores"


def _claim(folder: Path, config: TrainConfig) -> None:
    path = folder / "config.json"
    if not path.exists():
        if _is_first():
            write_text(path, config.model_dump_json(indent=2))
        return
    try:
        same = TrainConfig.model_validate_json(path.read_text(encoding="utf-8")).same_run(config)
    except ValueError as error:
        raise BadFile(f"{path}: damaged; remove the folder or train into another one") from error
    if not same:
        raise UnsupportedInput(f"{folder}: holds a run with another configuration; train into another folder")


def _clean(folder: Path) -> None:
    """Remove what kills inside writes left over (`files.atomic_write`)."""
    if _is_first():
        for suffix in ("json", "csv", "png", "safetensors", "ckpt"):
            for left in folder.rglob(f".*.{suffix}.*.{suffix}"):
                left.unlink(missing_ok=True)


def _is_first() -> bool:
    """Whether this process is the one that writes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


def _announce(text: str) -> None:
    if _is_first():
        get_console().print(text, highlight=False, soft_wrap=True)


def _wait_for(path: Path) -> None:
    """Until the first process has written `path`. A file is waited for, not a barrier: barriers time out."""
    parent = os.getppid()
    while not path.exists():
        if os.getppid() != parent:
            raise SvfError(f"{path}: the process that was to write it is gone; see its message")
        time.sleep(0.1)
