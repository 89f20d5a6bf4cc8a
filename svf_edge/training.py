"""Training with Lightning: a float phase, folding and calibration, a quantisation-aware phase.

Every epoch renders new clips, so nothing is seen twice and a resumed run goes on with the clips it would have seen.
"""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, Subset

from svf_edge.calib.batchnorm import reestimate
from svf_edge.calib.exponents import inner_exponents
from svf_edge.data.sample import PoseSample, stack_samples
from svf_edge.data.synthetic import GENERATOR_VERSION, SyntheticPoseDataset
from svf_edge.errors import BadFile, MissingPackage, SvfError, UnsupportedInput
from svf_edge.files import write_text
from svf_edge.model.config import PoseHead
from svf_edge.model.heads import Pose
from svf_edge.model.network import SpikeVideoFormer, tracked_rates
from svf_edge.model_store import load_model, save_model
from svf_edge.quant import is_quantised, quantise
from svf_edge.tasks.pose import bin_frequency, inside, simcc_loss
from svf_edge.tasks.pose_evaluation import evaluate
from svf_edge.training_config import Phase, TrainConfig

try:
    import lightning
    from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, RichProgressBar
    from lightning.pytorch.loggers import CSVLogger
except ImportError as error:
    raise MissingPackage("lightning", "train") from error


class NewClips(Sampler[int]):
    """Indices of `clips` clips that no other epoch draws; Lightning calls `set_epoch`."""

    def __init__(self, clips: int) -> None:
        self.clips = clips
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.epoch * self.clips, (self.epoch + 1) * self.clips))

    def __len__(self) -> int:
        return self.clips


class _Progress(RichProgressBar):
    """Lightning's bar without the number of the log folder, which looks like a result."""

    def get_metrics(self, trainer: Any, pl_module: Any) -> Any:
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


class PoseTraining(lightning.LightningModule):
    """One phase: SimCC loss plus a charge on layers that fire above the target rate."""

    def __init__(self, model: SpikeVideoFormer, config: TrainConfig, phase: Phase, validation: PoseSample) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.phase = phase
        self.validation = validation
        assert isinstance(config.model.head, PoseHead)
        self.head = config.model.head

    def training_step(self, batch: PoseSample, _: int) -> Tensor:
        with tracked_rates(self.model):
            scores = self.model(batch["frames"])
            rates = torch.stack([lif.rate for lif in self.model.lifs().values() if lif.rate is not None])
        size = self.config.model.frame_size
        counted = inside(batch["joints"], size)
        loss = simcc_loss(scores, batch["joints"], counted, self.head, size, self.config.sigma)
        charge = (rates / self.config.rate_target - 1).clamp(min=0).square().mean()
        if not loss.isfinite():
            raise SvfError(
                f"{self.config.name}: the loss is {loss.item()} at step {self.global_step} of a phase; "
                f"train into another folder with a lower learning rate than {self.phase.learning_rate}"
            )
        self.log_dict({"loss": loss, "rate": rates.mean()}, prog_bar=True)
        return loss + self.config.rate_weight * charge

    def on_train_epoch_end(self) -> None:
        result = evaluate(self.model, self.validation, self.config.batch_size)
        self.model.train()
        self.log_dict({f"val/{name}": value for name, value in result.metrics.items()}, prog_bar=True)
        self.log_dict({f"rate/{name}": value for name, value in result.rates.items()})

    def configure_optimizers(self) -> Any:
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.phase.learning_rate, weight_decay=self.config.weight_decay)
        total = self.phase.epochs * math.ceil(self.phase.clips_per_epoch / self.config.batch_size)
        warmup = max(1, round(self.phase.warmup * total))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train(config: TrainConfig, folder: str | Path) -> Path:
    """Train into `folder` and return the path of the quantised checkpoint, `folder/model.safetensors`.

    A run that was interrupted goes on from its last finished epoch when called again with the same configuration.
    Also left there: `float.safetensors`, `config.json`, and CSV logs under `float/` and `qat/`.

    Raises `UnsupportedInput` when no clips can be rendered for the model or `folder` holds a run with another
    configuration, `BadFile` when a file of the run is damaged, and `SvfError` when the loss is not finite.
    """
    folder = Path(folder)
    SpikeVideoFormer(config.model)  # what cannot be built or rendered must not claim the folder
    clips = dataset("val", config.validation_clips, config)
    _claim(folder, config)
    torch.set_num_threads(config.threads)
    result = folder / "model.safetensors"
    if result.exists():
        return result
    validation = stack_samples(clips)
    float_path, folded_path = folder / "float.safetensors", folder / "folded.safetensors"
    if not float_path.exists():
        _announce(f"1/3 float training, {config.float_phase.epochs} epochs")
        model = start_model(config)
        _fit(model, config, config.float_phase, validation, folder / "float")
        reestimate(model, _calibration(config))
        _save(model, config, validation, float_path, {})
    if not folded_path.exists():
        _announce("2/3 folding and calibration")
        model, meta = load_model(float_path)
        model = quantise(model, inner_exponents(model, _calibration(config)))
        _save(model.eval(), config, validation, folded_path, {"float": meta["metrics"]})
    _announce(f"3/3 quantisation-aware training, {config.qat_phase.epochs} epochs")
    model, meta = load_model(folded_path)
    history = {"float": meta["float"], "post_training_quantisation": meta["metrics"]}
    lightning.seed_everything(config.seed + 1, verbose=False)
    _fit(model.train(), config, config.qat_phase, validation, folder / "qat")
    _save(model, config, validation, result, history)
    return result


def start_model(config: TrainConfig) -> SpikeVideoFormer:
    """The untrained model of a run: seeded, its head at the marginal distribution of the joints."""
    lightning.seed_everything(config.seed, verbose=False)
    model = SpikeVideoFormer(config.model)
    joints, size = stack_samples(dataset("train", config.calibration_clips, config))["joints"], config.model.frame_size
    assert isinstance(model.head, Pose) and isinstance(config.model.head, PoseHead)
    model.head.start_from(bin_frequency(joints, inside(joints, size), config.model.head, size))
    return model


def dataset(split: str, clips: int, config: TrainConfig) -> SyntheticPoseDataset:
    """The synthetic clips that a run's model takes."""
    return SyntheticPoseDataset(split, clips, config.model.frames, config.model.frame_size, config.seed)


def _announce(phase: str) -> None:
    Console().print(phase, highlight=False)


def _claim(folder: Path, config: TrainConfig) -> None:
    path = folder / "config.json"
    text = config.model_dump_json(indent=2)
    if not path.exists():
        write_text(path, text)
        return
    try:
        same = TrainConfig.model_validate_json(path.read_text(encoding="utf-8")) == config
    except ValueError as error:
        raise BadFile(f"{path}: damaged; remove the folder or train into another one") from error
    if not same:
        raise UnsupportedInput(f"{folder}: holds a run with another configuration; train into another folder")


def _calibration(config: TrainConfig) -> Iterator[Tensor]:
    clips = stack_samples(dataset("train", config.calibration_clips, config))
    return iter(clips["frames"].split(config.batch_size))


def _fit(model: SpikeVideoFormer, config: TrainConfig, phase: Phase, validation: PoseSample, folder: Path) -> None:
    """Run one phase, from its last checkpoint if there is one."""
    # The float phase draws its clips from the start of the stream, the QAT phase draws the ones after those.
    offset = config.float_phase.epochs * config.float_phase.clips_per_epoch if is_quantised(model) else 0
    length = offset + phase.epochs * phase.clips_per_epoch
    clips = Subset(dataset("train", length, config), range(offset, length))
    loader = DataLoader(clips, config.batch_size, sampler=NewClips(phase.clips_per_epoch), num_workers=config.workers)
    last = folder / "last.ckpt"
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # device lists and tips say nothing here
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # a resumed run
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")  # between Lightning and torch
    trainer = lightning.Trainer(
        default_root_dir=folder,
        accelerator="auto",
        devices=1,
        max_epochs=phase.epochs,
        gradient_clip_val=1.0,
        logger=CSVLogger(folder, name="log"),
        callbacks=[
            ModelCheckpoint(folder, filename="last", save_top_k=1, every_n_epochs=1, enable_version_counter=False),
            LearningRateMonitor("step"),
            _Progress(),
        ],
        log_every_n_steps=min(20, len(loader)),
        enable_model_summary=False,
    )
    task = PoseTraining(model, config, phase, validation)
    resumed = _readable(last, task) if last.exists() else None
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(task, loader, ckpt_path=resumed, weights_only=True)
    except SystemExit:  # Lightning ends the process, with SIGINT ignored
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from None


def _readable(last: Path, task: PoseTraining) -> Path:
    """`last` if it is a checkpoint of `task`; whatever a damaged file makes torch raise becomes `BadFile`."""
    try:
        state = torch.load(last, map_location="cpu", weights_only=True)
        task.load_state_dict(state["state_dict"])
        missing = {"loops", "optimizer_states", "lr_schedulers"} - state.keys()
    except Exception as error:
        raise BadFile(f"{last}: damaged; delete it to start this phase again") from error
    if missing:
        raise BadFile(f"{last}: damaged (no {', '.join(sorted(missing))}); delete it to start this phase again")
    return last


def _save(
    model: SpikeVideoFormer, config: TrainConfig, validation: PoseSample, path: Path, history: dict[str, Any]
) -> None:
    result = evaluate(model, validation, config.batch_size)
    meta = {
        "training": config.model_dump(mode="json"),
        "generator_version": GENERATOR_VERSION,
        "metrics": result.metrics,
        "firing_rates": result.rates,
        **history,
    }
    save_model(model, path, meta)
