"""What makes a step out of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn

from svf_edge.training_config import TrainConfig

_MOMENTUM: Final = 0.95
_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
_ITERATIONS: Final = 5
_RMS: Final = 0.2  # of an orthogonalised update's entries: that of a typical AdamW step
_ORTHOGONAL: Final = "orthogonal"

MUON_FACTOR: Final = 2.0
"""Learning rate of orthogonalised updates relative to that of the rest."""


class Muon(torch.optim.AdamW):
    """AdamW, and for groups marked `orthogonal` Muon (Jordan et al. 2024), scaled as by Liu et al. (2025).

    Muon replaces the momentum of a matrix by the nearest orthogonal one, so that directions which small gradients point
    to (and a surrogate gradient makes most of them small) are learnt as fast as the rest. A filter bank
    `[Cout, Cin, kh, kw]` counts as a matrix of Cout rows; `torch.optim.Muon` takes no filters.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        for values in state["state"].values():
            values.setdefault("step", torch.tensor(0.0))  # AdamW looks for one in every state that it loads
        super().__setstate__(state)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        for group in groups:
            if group.get(_ORTHOGONAL):
                self._orthogonal_step(group)
        self.param_groups = [group for group in groups if not group.get(_ORTHOGONAL)]
        try:
            super().step()
        finally:
            self.param_groups = groups
        return loss

    def _orthogonal_step(self, group: dict[str, Any]) -> None:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"].lerp_(parameter.grad, 1 - _MOMENTUM)
            update = orthogonalised(parameter.grad.lerp(momentum, _MOMENTUM).flatten(1))
            rate = group["lr"] * _RMS * max(update.shape) ** 0.5
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update.view_as(parameter), alpha=-rate)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix `[m, n]` = U S V^T, by five Newton-Schulz iterations of fifth order (Jordan et al.)."""
    a, b, c = _COEFFICIENTS
    x = matrix / matrix.norm().clamp(min=1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def make_optimiser(model: nn.Module, config: TrainConfig, learning_rate: float) -> torch.optim.Optimizer:
    """The configuration's optimiser: weight decay for weights alone, Muon for filters that mix channels.

    Depthwise filters and the head's read-out, a table of places rather than a mixing of channels, stay with AdamW.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    mixing = {
        name
        for name, p in trained.items()
        if config.optimiser == "muon" and p.ndim == 4 and p.shape[1] > 1 and not name.startswith("head.read.")
    }
    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in trained.items() if p.ndim > 1 and name not in mixing]},
        {"params": [p for p in trained.values() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if not mixing:
        return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=config.weight_decay)
    groups.append(
        {"params": [trained[name] for name in trained if name in mixing], "lr": MUON_FACTOR * learning_rate}
        | {_ORTHOGONAL: True}
    )
    return Muon(groups, lr=learning_rate, weight_decay=config.weight_decay)
