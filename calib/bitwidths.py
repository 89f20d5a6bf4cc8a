"""Bits for every layer within a number of bytes, by what each was measured to cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from svf_edge.calib.sensitivity import Cost
from svf_edge.errors import MissingPackage, UnsupportedInput


def assign(costs: Sequence[Cost], budget: int) -> dict[str, int]:
    """Bits by layer whose bytes add up to at most `budget` and whose divergences add up to the least.

    An integer programme with one choice per layer, solved exactly (scipy's HiGHS). Costs of layers are taken to add
    up, which holds while each is small. Raises `UnsupportedInput` when the smallest assignment is over the budget.
    """
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
    except ModuleNotFoundError as error:
        raise MissingPackage("scipy", "train") from error
    layers = list(dict.fromkeys(cost.layer for cost in costs))
    sizes = np.array([cost.bytes for cost in costs], dtype=np.float64)
    smallest = sum(min(cost.bytes for cost in costs if cost.layer == layer) for layer in layers)
    if smallest > budget:
        raise UnsupportedInput(
            f"a budget of {budget / 1000:.1f} kB: the weights of this model take at least {smallest / 1000:.1f} kB at "
            f"{min(cost.bits for cost in costs)} bits; give a larger budget or a smaller model"
        )
    least = min(cost.divergence for cost in costs)
    # A tie goes to the wider weights.
    price = np.array([cost.divergence - least + 1e-9 / cost.bits for cost in costs])
    one_each = np.array([[float(cost.layer == layer) for cost in costs] for layer in layers])
    solved = milp(
        price,
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(sizes[None], 0, budget)],
        integrality=np.ones(len(costs)),
        bounds=Bounds(0, 1),
    )
    return {cost.layer: cost.bits for cost, chosen in zip(costs, solved.x, strict=True) if chosen > 0.5}
