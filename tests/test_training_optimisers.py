"""Muon: orthogonal updates for filters, AdamW to the bit for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from svf_edge.model.config import model_config
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.training.optimisers import MUON_FACTOR, Muon, make_optimiser, orthogonalised
from svf_edge.training_config import Phase, TrainConfig

PHASE = Phase(epochs=1, clips_per_epoch=4, learning_rate=0.001)


def config(optimiser: str) -> TrainConfig:
    model = model_config("tiny", frames=1, frame_size=(32, 32))
    return TrainConfig.model_validate(
        {"name": "muon", "model": model, "float_phase": PHASE, "qat_phase": PHASE, "optimiser": optimiser}
    )


@pytest.mark.parametrize("shape", [(64, 16), (16, 64), (32, 32), (48, 16, 3, 3), (16, 48, 1, 1)])
def test_singular_values_of_an_orthogonalised_matrix_are_near_one(shape: tuple[int, ...]) -> None:
    """Whatever they were: those of the input span two orders of magnitude. Its singular vectors are kept."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.randn(shape, generator=generator, dtype=torch.float64).flatten(1).shape
    u, _, vh = torch.linalg.svd(torch.randn(rows, columns, generator=generator, dtype=torch.float64), False)
    spread = torch.logspace(0, -2, min(rows, columns), dtype=torch.float64)
    matrix = 1e3 * (u * spread) @ vh
    result = orthogonalised(matrix.view(shape).flatten(1))
    assert result.shape == (rows, columns)
    mapped = u.T @ result @ vh.T
    values = mapped.diagonal()
    assert values.min() > 0.6 and values.max() < 1.3
    assert (mapped - values.diag()).abs().max() < 1e-9


def test_a_gradient_of_zeros_moves_nothing() -> None:
    assert torch.equal(orthogonalised(torch.zeros(4, 6)), torch.zeros(4, 6))


class _Net(nn.Module):
    """A filter bank that mixes channels, a depthwise one, a vector and a read-out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Conv2d(6, 8, 3, bias=True)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, bias=False)
        self.head = nn.ModuleDict({"read": nn.Conv2d(8, 4, 1, bias=False)})

    def give_gradients(self, step: int) -> None:
        generator = torch.Generator().manual_seed(100 + step)
        for parameter in self.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)


def _steps(net: _Net, optimiser: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        net.give_gradients(step)
        optimiser.step()


def _state(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_the_rest_is_adamw_to_the_bit() -> None:
    """Depthwise filters, the read-out and biases go where torch's AdamW takes them, and only the mixing filters not."""
    ours, theirs = _Net(), _Net()
    muon = make_optimiser(ours, config("muon"), 0.01)
    adamw = make_optimiser(theirs, config("adamw"), 0.01)
    assert isinstance(muon, Muon) and type(adamw) is torch.optim.AdamW
    for step in range(5):
        for group in (*muon.param_groups, *adamw.param_groups):  # as a schedule does
            group["lr"] *= 0.9
        _steps(ours, muon, range(step, step + 1))
        _steps(theirs, adamw, range(step, step + 1))
        assert len(muon.param_groups) == 3
        different = [name for name, tensor in _state(ours).items() if not tensor.equal(_state(theirs)[name])]
        assert different == ["mix.weight"]
    assert "momentum" in muon.state[ours.mix.weight] and "exp_avg" not in muon.state[ours.mix.weight]


def test_a_step_has_the_size_of_one_of_adamw() -> None:
    """Root mean square of the first update: 0.2 of the learning rate, for wide and tall filters; decay comes on top."""
    net = _Net()
    optimiser = make_optimiser(net, config("muon"), 0.01)
    rate = MUON_FACTOR * 0.01
    (group,) = [group for group in optimiser.param_groups if group["lr"] == rate]
    assert group["params"] == [net.mix.weight] and group["weight_decay"] == 0.02
    before = net.mix.weight.detach().clone()
    _steps(net, optimiser, range(1))
    update = before * (1 - rate * 0.02) - net.mix.weight.detach()
    assert update.square().mean().sqrt().item() == pytest.approx(0.2 * rate, rel=0.2)
    assert net.mix.weight.grad is not None
    assert torch.cosine_similarity(update.flatten(), net.mix.weight.grad.flatten(), dim=0) > 0.7


def test_parameters_without_gradient_stay() -> None:
    net = _Net()
    optimiser = make_optimiser(net, config("muon"), 0.01)
    before = _state(net)
    optimiser.step()
    assert all(tensor.equal(before[name]) for name, tensor in net.state_dict().items())


def test_a_closure_is_evaluated_once_with_gradients() -> None:
    net = _Net()
    optimiser = make_optimiser(net, config("muon"), 0.01)
    calls = 0

    def closure() -> float:
        nonlocal calls
        calls += 1
        loss = torch.stack([parameter.square().sum() for parameter in net.parameters()]).sum()
        loss.backward()
        return loss.item()

    before = float(torch.stack([parameter.detach().square().sum() for parameter in net.parameters()]).sum())
    assert optimiser.step(closure) == pytest.approx(before) and calls == 1
    assert net.mix.weight.grad is not None


def test_its_state_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Saved after 3 of 6 steps and read as a resume file is: safely, into a new optimiser."""
    straight = _Net()
    _steps(straight, make_optimiser(straight, config("muon"), 0.01), range(6))
    net = _Net()
    optimiser = make_optimiser(net, config("muon"), 0.01)
    _steps(net, optimiser, range(3))
    torch.save({"net": net.state_dict(), "optimiser": optimiser.state_dict()}, tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    again = _Net()
    again.load_state_dict(saved["net"])
    resumed = make_optimiser(again, config("muon"), 0.5)  # the state has the learning rate
    resumed.load_state_dict(saved["optimiser"])
    _steps(again, resumed, range(3, 6))
    assert all(tensor.equal(straight.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_which_parameters_of_the_network_are_orthogonalised() -> None:
    """Every filter that mixes channels, but for the head's read-out; every parameter is in one group."""
    model = SpikeVideoFormer(config("muon").model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = make_optimiser(model, config("muon"), 0.001).param_groups
    plain, vectors, mixing = ([names[parameter] for parameter in group["params"]] for group in groups)
    assert sorted(plain + vectors + mixing) == sorted(names.values())
    assert [name for name in plain if "depthwise" not in name] == ["head.read.conv.weight"]
    assert "head.maps.conv.weight" in mixing and any("attention.query" in name for name in mixing)
    assert all(dict(model.named_parameters())[name].shape[1] > 1 for name in mixing)
    assert groups[1]["weight_decay"] == 0 and all(dict(model.named_parameters())[name].ndim == 1 for name in vectors)
