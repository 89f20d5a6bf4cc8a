"""One phase of training as a Lightning module."""

from __future__ import annotations

import importlib.util
import logging
import math
import time
from collections.abc import Sequence
from typing import Any, Final

import lightning
import torch
from rich import get_console
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from svf_edge.data.sample import Sample, chosen, stretch
from svf_edge.errors import SvfError
from svf_edge.model.network import SpikeVideoFormer, carried_state, tracked_rates
from svf_edge.quant import is_quantised
from svf_edge.tasks.evaluation import predict
from svf_edge.tasks.registry import make_task
from svf_edge.training.clips import NewClips, dataset
from svf_edge.training.history import History
from svf_edge.training.optimisers import make_optimiser
from svf_edge.training.plots import draw_curves, draw_examples, draw_rates
from svf_edge.training.start import SATURATED, SILENT
from svf_edge.training.terms import LossTerm, Step
from svf_edge.training_config import Phase, PhaseName, TrainConfig

log = logging.getLogger(__name__)

PATIENCE: Final = 3
"""Epochs after which a layer that passes on nothing is named."""

EXAMPLES: Final = 8
_DRAWING: Final = 0.05  # share of the time that pictures may take


class TaskTraining(lightning.LightningModule):
    """Steps over loss terms, a moving average of the weights, and validation after every epoch.

    The module's state (and so a resume file)
    holds the model and its average.
    """

    def __init__(
        self,
        model: SpikeVideoFormer,
        config: TrainConfig,
        phase: Phase,
        *,
        name: PhaseName,
        terms: Sequence[LossTerm],
        validation: Sample,
        names: Sequence[str],
        history: History,
    ) -> None:
        super().__init__()
        self.model = model
        self.average = None if config.ema_decay is None else moving_average(model, config.ema_decay)
        self.config = config
        self.task = make_task(config.model, names, config.sigma)
        self.phase = phase
        self.name = name
        self.quantised = is_quantised(model)
        self.first_clip = config.first_clip(name)
        self.terms = list(terms)
        self.validation = validation
        self.history = history
        self.steps = phase.epochs * math.ceil(phase.clips_per_epoch / config.batch_size)
        self._sums: dict[str, Tensor] = {}
        self._batches = 0
        self._started = 0.0
        self._draw_after = -math.inf
        self._idle: dict[str, int] = {}

    @property
    def kept(self) -> SpikeVideoFormer:
        """The model that is validated and kept: the average where there is one."""
        if self.average is None:
            return self.model
        kept = self.average.module
        assert isinstance(kept, SpikeVideoFormer)
        return kept

    def train_dataloader(self) -> DataLoader[Sample]:
        config, phase = self.config, self.phase
        clips = dataset("train", self.first_clip + phase.epochs * phase.clips_per_epoch, config, config.stream_chunks)
        sampler = NewClips(phase.clips_per_epoch, self.first_clip, self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(
            clips, config.batch_size // self.trainer.world_size, sampler=sampler, num_workers=config.workers
        )

    def on_train_epoch_start(self) -> None:
        self._started = time.monotonic()
        self._sums, self._batches = {}, 0
        self.history.rewind(self.name, self.current_epoch)

    def training_step(self, batch: Sample, _: int) -> Tensor:
        steps = self.config.model.frames
        progress = 1.0 if self.quantised else self.global_step / self.steps
        losses: dict[str, Tensor] = {}
        with tracked_rates(self.model), carried_state(self.model):
            for begin in range(0, batch["frames"].shape[1], steps):
                chunk = stretch(batch, begin, begin + steps)
                scores = self.model(chunk["frames"])
                rates = {name: lif.rate for name, lif in self.model.lifs().items() if lif.rate is not None}
                step = Step(self.model, chunk, scores, rates, progress)
                for term in self.terms:
                    part = term(step) / self.config.stream_chunks
                    losses[term.name] = losses[term.name] + part if term.name in losses else part
        loss = torch.stack(list(losses.values())).sum()
        if not loss.isfinite():
            raise SvfError(
                f"{self.config.name}: the loss is {loss.item()} at step {self.global_step} of a phase; "
                f"train into another folder with a lower learning rate than {self.phase.learning_rate}"
            )
        rate = torch.stack(list(rates.values())).mean()
        self._count(
            {
                "loss": loss,
                **{f"loss/{name}": part for name, part in losses.items()},
                "rate": rate,
                "learning_rate": loss.new_tensor(self.trainer.optimizers[0].param_groups[0]["lr"]),
            }
        )
        self.log_dict({"loss": loss.detach(), "rate": rate.detach()}, prog_bar=True)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        if self.average is not None:
            self.average.update_parameters(self.model)

    def on_train_epoch_end(self) -> None:
        means = {name: float(self._mean(total / self._batches)) for name, total in self._sums.items()}
        metrics, rates, predicted = self._validate()
        if not self.trainer.is_global_zero:
            return
        row = {
            "phase": self.name,
            "epoch": self.current_epoch + 1,
            "step": self.global_step,
            **means,
            **{f"val/{name}": value for name, value in metrics.items()},
            **{f"rate/{name}": value for name, value in rates.items()},
            "seconds": time.monotonic() - self._started,
        }
        self.history.add(row)
        self._say(row)
        self._watch(rates)
        self._draw(predicted)

    def configure_optimizers(self) -> Any:
        optimizer = make_optimiser(self.model, self.config, self.phase.learning_rate)
        warmup = max(1, round(self.phase.warmup * self.steps))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, self.steps - warmup))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _count(self, values: dict[str, Tensor]) -> None:
        self._batches += 1
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach()

    def _mean(self, value: Tensor) -> Tensor:
        """Mean over processes."""
        mean: Tensor = self.trainer.strategy.reduce(value, reduce_op="mean")
        return mean

    @torch.no_grad()
    def _validate(self) -> tuple[dict[str, float], dict[str, float], Tensor]:
        """Metrics, rates and predictions of all validation clips; every process predicts its share."""
        model, rank, world = self.kept, self.trainer.global_rank, self.trainer.world_size
        if world > 1:
            for buffer in self.buffers():  # batch statistics differ between processes; process 0 saves
                torch.distributed.broadcast(buffer, 0)
        found = predict(model, self.task, self.validation["frames"][rank::world], self.config.batch_size)
        gathered = self.all_gather(found.values.to(self.device))
        assert isinstance(gathered, Tensor)
        gathered = gathered.cpu()
        if world > 1:  # [world, N / world, ...], dealt out clip by clip
            gathered = gathered.transpose(0, 1).flatten(0, 1)
        mean = self._mean(torch.tensor(list(found.rates.values()), device=self.device)).tolist()
        metrics = self.task.metrics(gathered, self.validation)
        metrics["firing_rate"] = sum(mean) / len(mean)
        return metrics, dict(zip(found.rates, mean, strict=True)), gathered

    def _say(self, row: dict[str, Any]) -> None:
        left = row["seconds"] * (self.phase.epochs - row["epoch"])
        get_console().print(
            f"{self.name} epoch {row['epoch']}/{self.phase.epochs}: loss {row['loss']:.3f}, "
            f"{self.task.headline} {row[f'val/{self.task.headline}']:.3f}, firing rate {row['val/firing_rate']:.3f}, "
            f"{row['seconds']:.0f} s, about {left / 60:.0f} min left in this phase",
            highlight=False,
            soft_wrap=True,
        )

    def _watch(self, rates: dict[str, float]) -> None:
        for name, rate in rates.items():
            self._idle[name] = 0 if SILENT < rate < SATURATED else self._idle.get(name, 0) + 1
            if self._idle[name] == PATIENCE:
                log.warning(
                    "layer %s has fired at a rate of %.4f for %d epochs and passes on nothing; "
                    "a lower rate_weight or learning rate, or a longer rate_warmup, keeps it alive",
                    name,
                    rate,
                    PATIENCE,
                )

    def _draw(self, predicted: Tensor) -> None:
        if not self.config.pictures or not importlib.util.find_spec("matplotlib"):
            return
        started = time.monotonic()
        if started < self._draw_after and self.current_epoch + 1 < self.phase.epochs:
            return
        folder, rows = self.history.folder, self.history.rows
        draw_curves(rows, folder / "curves.png")
        draw_rates(rows, folder / "rates.png")
        some = torch.linspace(0, len(predicted) - 1, min(EXAMPLES, len(predicted))).long()
        clips, middle = chosen(self.validation, some), self.config.model.frames // 2
        draw_examples(self.task, clips, predicted[some], middle, folder / "examples.png")
        now = time.monotonic()
        self._draw_after = now + (now - started) / _DRAWING


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of `model` whose values follow it: weights and statistics at `decay`, counters at once.

    The decay rises to its value over the first steps, or the random start would stay in the average for long.
    Lightning's own callback is not used: it puts the average in place when fitting ends, which does not happen for a
    run that was killed after its last epoch and before the result was written.
    """

    def follow(average: Tensor, value: Tensor, taken: Tensor | int) -> Tensor:
        if not average.is_floating_point():
            return value
        return average.lerp(value, 1 - min(decay, (1 + int(taken)) / (10 + int(taken))))

    average = AveragedModel(model, avg_fn=follow, use_buffers=True)
    average.requires_grad_(False)
    return average
