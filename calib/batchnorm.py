"""BatchNorm statistics for deployment."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def reestimate(model: nn.Module, clips: Iterable[Tensor]) -> None:
    """Replace every BatchNorm's running statistics by the plain mean over `clips` (batches the model takes).

    Training leaves an exponential average that lags behind the weights; folding makes whatever it holds final.
    Modes and momenta are restored.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    training = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch: a cumulative average
    model.train()
    for batch in clips:
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, mode in training.items():
        module.training = mode
