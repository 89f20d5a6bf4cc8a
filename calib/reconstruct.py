"""Weights on their integer grid, layer by layer, so that each layer's output stays nearest to the float model's.

For every layer in running order the columns `x` of its input are taken from the network quantised so far and its
targets `y` from the float network on the same clips. Three things follow from their second moments alone:

1. the weights that make up best for the errors upstream, by ridge regression towards the float weights;
2. their integers: column by column, what rounding one weight spoils is spread over those not yet rounded (Frantar et
   al., GPTQ, ICLR 2023; after Hassibi and Stork's optimal brain surgeon), in several units, of which every channel
   keeps the one with the smallest output error, clipped weights included;
3. the bias that gives every channel the float mean (Nagel et al., ICCV 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from svf_edge.contract import weight_limit
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.quant import QuantConv

COLUMNS = 16384
"""Input columns that a layer's moments are taken from, at most."""

_RIDGE = 0.01  # of the mean variance of a column: the least that keeps the Cholesky factors well conditioned
_FINER = range(-1, 3)  # units tried, in bits finer than the one that clips nothing


class _Stop(Exception):
    """Ends a forward pass behind the layer of interest."""


@dataclass
class Moments:
    """Second moments of a layer: `gram` `[G, K, K]` and `cross` `[G, O, K]` are centred, with the means kept apart.

    G groups of O outputs and K inputs each (channels times taps); `x_mean` is `[G, K]`, `y_mean` `[G, O]`; `count` is
    the number of columns they were taken from.
    """

    gram: Tensor
    cross: Tensor
    x_mean: Tensor
    y_mean: Tensor
    count: int


@torch.no_grad()
def moments(
    reference: nn.Module, model: nn.Module, name: str, clips: Sequence[Tensor], columns: int = COLUMNS
) -> Moments:
    """Moments of layer `name`: inputs from `model`, targets from `reference`, on batches uint8 `[B, T, C, H, W]`."""
    layer = model.get_submodule(name)
    assert isinstance(layer, QuantConv)
    generator = torch.Generator().manual_seed(0)
    share = max(1, columns // len(clips))
    gram: Tensor | float = 0.0
    cross: Tensor | float = 0.0
    x_sum: Tensor | float = 0.0
    y_sum: Tensor | float = 0.0
    count = 0
    for batch in clips:
        inputs = _values_at(model, name, batch, inputs=True)
        targets = _values_at(reference, name, batch, inputs=False)
        for x, y in zip(inputs, targets, strict=True):
            rows, wanted = _columns(layer, x, y, share // len(inputs), generator)
            gram += rows @ rows.transpose(1, 2)
            cross += wanted @ rows.transpose(1, 2)
            x_sum += rows.sum(2)
            y_sum += wanted.sum(2)
            count += rows.shape[2]
    assert not isinstance(gram, float) and not isinstance(cross, float)
    assert not isinstance(x_sum, float) and not isinstance(y_sum, float)
    x_mean, y_mean = x_sum / count, y_sum / count
    return Moments(
        gram / count - x_mean[:, :, None] * x_mean[:, None, :],
        cross / count - y_mean[:, :, None] * x_mean[:, None, :],
        x_mean,
        y_mean,
        count,
    )


def _values_at(model: nn.Module, name: str, batch: Tensor, *, inputs: bool) -> list[Tensor]:
    """What layer `name` reads or makes in every of its calls on `batch`, `[N, C, H, W]` each."""
    calls = _calls(model, name)
    found: list[Tensor] = []

    def hook(_: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
        found.append((args[0] if inputs else out).flatten(0, 1))
        if len(found) == calls:
            raise _Stop

    handle = model.get_submodule(name).register_forward_hook(hook)
    try:
        model(batch)
    except _Stop:
        pass
    finally:
        handle.remove()
    return found


def _calls(model: nn.Module, name: str) -> int:
    """How often a layer runs in a forward pass: the projection that factorised attention shares runs twice."""
    from svf_edge.model.blocks import FactorisedAttention

    parts = name.split(".")
    parents = [model.get_submodule(".".join(parts[:depth])) for depth in range(1, len(parts))]
    shared = any(
        isinstance(parent, FactorisedAttention) and parts[depth] == "project"
        for depth, parent in enumerate(parents, start=1)
    )
    return 2 if shared else 1


def _columns(layer: QuantConv, x: Tensor, y: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`count` random positions of one call (all, if there are fewer): columns `[G, K, n]`, targets `[G, O, n]`."""
    weight = layer.conv.weight
    per_clip = max(1, count // len(x))
    patches = F.unfold(x, weight.shape[2:], padding=layer.padding, stride=layer.stride)
    places = torch.randperm(patches.shape[2], generator=generator)[:per_clip]
    patches, y = patches[:, :, places], y.flatten(2)[:, :, places]
    rows = patches.unflatten(1, (layer.groups, -1)).permute(1, 2, 0, 3).flatten(2)
    wanted = y.unflatten(1, (layer.groups, -1)).permute(1, 2, 0, 3).flatten(2)
    return rows.double(), wanted.double()


@torch.no_grad()
def fit(layer: QuantConv, found: Moments) -> float:
    """Give `layer` the integers that fit `found` best; returns the output error they leave, relative to its variance.

    The layer must still hold the float weights.
    """
    float_weight = layer.conv.weight.double()
    shape = float_weight.shape
    outs, per_group, *kernel = shape
    weight = float_weight.reshape(layer.groups, outs // layer.groups, -1)
    gram, size = found.gram, found.gram.shape[-1]
    variance = gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)
    # With few columns the moments are noise: lean on the float weights, and on plain rounding.
    ridge = (_RIDGE + size / found.count) * variance
    steady = gram + ridge[:, None, None] * torch.eye(size, dtype=gram.dtype)
    best = torch.linalg.solve(steady, (found.cross + ridge[:, None, None] * weight).transpose(1, 2)).transpose(1, 2)

    limit = weight_limit(layer.weight_bits)
    largest = best.abs().amax(2).clamp(min=2.0**-60)
    coarsest = torch.floor(torch.log2(limit / largest))
    units = torch.stack([(coarsest + finer).clamp(-30, layer.finest) for finer in _FINER], 1)  # [G, tries, O]
    tried = _round(best, units, limit, steady)
    excess = tried - best[:, None]
    error = torch.einsum("gtok,gkl,gtol->gto", excess, steady, excess)
    choice = error.argmin(1, keepdim=True)  # [G, 1, O]
    chosen = tried.gather(1, choice[..., None].expand(-1, -1, -1, size))[:, 0]
    layer.fix(units.gather(1, choice).flatten())
    layer.conv.weight.copy_(chosen.reshape(outs, per_group, *kernel))
    bias = found.y_mean - torch.einsum("gok,gk->go", chosen, found.x_mean)
    layer.bias.copy_(bias.flatten())
    return _error(found, chosen)


def _round(weight: Tensor, units: Tensor, limit: int, gram: Tensor) -> Tensor:
    """`weight` `[G, O, K]` rounded in every one of `units` `[G, tries, O]`: `[G, tries, O, K]`."""
    groups, outs, size = weight.shape
    order = gram.diagonal(dim1=1, dim2=2).argsort(1, descending=True)  # the inputs that matter most come first
    rows = order[:, :, None].expand(-1, -1, size)
    sorted_gram = gram.gather(1, rows).gather(2, rows.transpose(1, 2))
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(sorted_gram)), upper=True)
    tries = units.shape[1]
    left = weight.gather(2, order[:, None].expand(-1, outs, -1))[:, None].expand(-1, tries, -1, -1)
    left = left.reshape(groups, tries * outs, size).clone()
    scale = (2.0**units).reshape(groups, -1)
    result = torch.empty_like(left)
    for i in range(size):
        column = left[:, :, i]
        result[:, :, i] = (column * scale).round().clamp(-limit, limit) / scale
        lost = (column - result[:, :, i]) / factor[:, i, i][:, None]
        left[:, :, i + 1 :] -= lost[:, :, None] * factor[:, None, i, i + 1 :]
    back = order.argsort(1)[:, None].expand(-1, tries * outs, -1)
    return result.gather(2, back).reshape(groups, tries, outs, size)


def _error(found: Moments, weight: Tensor) -> float:
    """`E|W x - y|^2` beyond what the best weights leave, relative to what those explain of `y`."""
    size = found.gram.shape[-1]
    least = 1e-6 * found.gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)
    steady = found.gram + least[:, None, None] * torch.eye(size, dtype=found.gram.dtype)
    best = torch.linalg.solve(steady, found.cross.transpose(1, 2)).transpose(1, 2)
    excess = weight - best
    missed = torch.einsum("gok,gkl,gol->", excess, steady, excess)
    return float(missed / torch.einsum("gok,gok->", found.cross, best).clamp(min=1e-12))


def reconstruct(
    reference: SpikeVideoFormer,
    model: SpikeVideoFormer,
    clips: Iterable[Tensor],
    *,
    layers: Iterable[str] | None = None,
    advance: Callable[[str, float], None] | None = None,
) -> dict[str, float]:
    """Fit every layer of `model` (quantised from `reference`, both in eval mode) in place, in running order.

    `advance` is called with each layer's name and error as it is done. Returns the errors by name.
    """
    batches = list(clips)
    errors = {}
    names = [name for name, module in model.named_modules() if isinstance(module, QuantConv)]
    for name in names if layers is None else layers:
        layer = model.get_submodule(name)
        assert isinstance(layer, QuantConv)
        errors[name] = fit(layer, moments(reference, model, name, batches))
        if advance is not None:
            advance(name, errors[name])
    return errors
