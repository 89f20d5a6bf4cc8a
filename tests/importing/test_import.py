"""The authors' weights: same spikes as their equations, and clear words where a file is not what it should be."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from svf_edge.calib.calibrate import calibrate
from svf_edge.cli import build_app
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.export.onnx import packed_model, portable_model
from svf_edge.importing.authors import Choices, import_state
from svf_edge.importing.reading import ForeignState, read_state
from svf_edge.model.config import SIZES, model_config
from svf_edge.model.layers import AttentionLif
from svf_edge.model.network import SpikeVideoFormer, parameter_count
from svf_edge.model_store import load_model
from svf_edge.program import run
from svf_edge.program.freeze import freeze
from tests.importing.authors import State, fit, forward, random_state
from tests.models import random_clips, spikes_of
from tests.programs import assert_not_silent

SMALL = (16, 32, 48, 64)
EDIT = Callable[[State], object]


def clips(size: tuple[int, int] = (64, 96), frames: int = 3, count: int = 1, seed: int = 3) -> Tensor:
    return random_clips(model_config("tiny", frame_size=size, frames=frames), count, seed)


def small(**options: Any) -> State:
    return random_state(SMALL, depths=(1, 1), **options)


def take(state: State, **choices: Any) -> SpikeVideoFormer:
    options: dict[str, Any] = {"frames": 3, "frame_size": (64, 96), "size": "custom", **choices}
    return import_state(ForeignState("", state, {}), Choices(**options)).model


def observed(model: SpikeVideoFormer, clip: Tensor) -> tuple[Tensor, list[Tensor], dict[int, Tensor]]:
    """Scores, the spikes of every neuron layer in running order, and what the plain neurons among them read."""
    spikes: list[Tensor] = []
    drives: dict[int, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor], out: Tensor) -> None:
        if not isinstance(module, AttentionLif):
            drives[len(spikes)] = inputs[0][:, 0]
        spikes.append(out[:, 0])

    handles = [lif.register_forward_hook(keep) for lif in model.lifs().values()]  # type: ignore[arg-type]
    with torch.no_grad():
        scores = model(clip[None])[0]
    for handle in handles:
        handle.remove()
    return scores, spikes, drives


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize(
    ("hamming", "space_time", "size"),
    [
        (True, "joint", (64, 96)),
        (True, "spatial", (64, 96)),
        (False, "joint", (80, 96)),
        (False, "spatial", (128, 144)),
    ],
)
def test_the_equations(hamming: bool, space_time: str, size: tuple[int, int], merge: bool) -> None:
    """In float64 every spike is the equations' own, and what neurons read differs by float32 weights alone."""
    state, clip = small(hamming=hamming), clips(size)[0]
    spatial = space_time == "spatial"
    forward(state, clip, spatial=spatial, fitting=True)
    wanted: list[Tensor] = []
    read: list[Tensor] = []

    def watch(drive: Tensor, spikes: Tensor) -> None:
        read.append(drive)
        wanted.append(spikes)

    scores = forward(state, clip, spatial=spatial, watch=watch)
    assert_not_silent({str(place): spikes.numpy() for place, spikes in enumerate(wanted)})
    model = take(state, frame_size=size, space_time=space_time, merge=merge).double()
    found, spikes, drives = observed(model, clip)
    for place, (one, other) in enumerate(zip(spikes, wanted, strict=True)):
        assert torch.equal(one.reshape(other.shape), other), f"spikes of layer {place}"
        if place in drives:
            scale = model.head.pool.area if place == len(wanted) - 1 else 1  # type: ignore[union-attr]
            torch.testing.assert_close(drives[place].reshape(other.shape) / scale, read[place], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(found, scores, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("size", ["15M", "31M", "55M"])
def test_published_sizes_reach_an_integer_program_and_a_graph(size: str) -> None:
    embed: tuple[int, int, int, int] = SIZES[size]["embed"]
    state, clip = random_state(embed), clips((32, 48), 1)[0]
    scores = forward(state, clip, fitting=True)
    model = take(state, frames=1, frame_size=(32, 48), size=None)
    assert (model.config.size, model.config.space_time, model.config.attention) == (size, "joint", "hamming")
    torch.testing.assert_close(model.double()(clip[None])[0], scores, atol=1e-6, rtol=1e-6)
    program = freeze(calibrate(model.float(), clip[None]).model)
    trace = run(program, clip.numpy())
    assert_not_silent({name: spikes for name, spikes in trace.spikes.items() if name != "head.lif"})
    if size == "15M":
        assert packed_model(program).graph.node
    graph = portable_model(program).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found = session.run(None, {"frames": clip.numpy()})[0]
    np.testing.assert_array_equal(found, trace.outputs["classification"])


def test_parameters_are_the_published_number() -> None:
    """15,116,720 (DESIGN), as the authors count them: the plane of ones is ours."""
    model = take(random_state(SIZES["15M"]["embed"], classes=1000), size="15M", mean=(128 / 255,) * 3, std=(1.0,) * 3)
    assert parameter_count(model) == 15_116_720


def test_integers_of_normalised_frames() -> None:
    """Quantised, what the stem makes of frames and its plane of ones fires the next neurons as the float network does,
    and the program gives the very spikes of the quantised model, behind the sum over space as well.

    In a random network a flipped spike flips others, so deeper layers tell nothing of the stem.
    """
    state, several = small(), clips(count=4)
    fit(state, several[0])
    result = calibrate(take(state), several)
    assert 0.05 < result.difference.rates["backbone.1.mixer.lif1"] < 0.5
    assert result.difference.flips["backbone.1.mixer.lif1"] < 0.01
    clip = several[1].numpy()
    scores, spikes = spikes_of(result.model, clip)
    trace = run(freeze(result.model), clip)
    assert_not_silent(trace.spikes)
    for name, values in trace.spikes.items():
        np.testing.assert_array_equal(values, spikes[name], err_msg=name)
    np.testing.assert_array_equal(scores.numpy() * 2**8, trace.outputs["classification"][:, :, 0, 0])


def test_a_distilled_head_is_averaged() -> None:
    state, clip = small(), clips()[0]
    fit(state, clip)
    state["head_kd.weight"], state["head_kd.bias"] = torch.randn(10, 64), torch.randn(10)
    plain = forward(state, clip)
    other = forward({**state, "head.weight": state["head_kd.weight"], "head.bias": state["head_kd.bias"]}, clip)
    torch.testing.assert_close(take(state).double()(clip[None])[0], (plain + other) / 2, atol=1e-6, rtol=1e-6)


def test_events_need_no_plane_of_ones() -> None:
    state, events = small(channels=2), torch.randint(0, 3, (3, 2, 64, 96), dtype=torch.uint8)
    ones: dict[str, Any] = {
        "mean": (0.0, 0.0),
        "std": (1 / 255, 1 / 255),
    }  # of the equations' pixels: counts as they are
    forward(state, events, fitting=True, **ones)
    model = take(state)
    assert (model.config.input, model.config.frame_offset) == ("events", False)
    scores = forward(state, events, **ones)
    torch.testing.assert_close(model.double()(events[None])[0], scores, atol=1e-6, rtol=1e-6)


@pytest.fixture(scope="module")
def state() -> State:
    return fit(small(), clips()[0])


def test_wrappings_are_seen_through(state: State, tmp_path: Path) -> None:
    plain = take(state).state_dict()
    wrapped: dict[str, Any] = {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}},
        "model": {f"module.{name}": value for name, value in state.items()},
    }
    torch.save(wrapped, tmp_path / "a.pth")
    torch.save({f"backbone.{n}": v for n, v in state.items() if n[:4] != "head"}
               | {"cls_head.fc_cls.weight": state["head.weight"], "cls_head.fc_cls.bias": state["head.bias"]},
               tmp_path / "b.pth")  # fmt: skip
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file({name: value.bfloat16() for name, value in state.items()}, tmp_path / "c.safetensors")
    for name, place, head in (
        ("a.pth", "model/module", None),
        ("b.pth", "backbone", "cls_head.fc_cls"),
        ("old.pth", "", None),
    ):
        read = read_state(tmp_path / name)
        assert read.place == place
        options: dict[str, Any] = {"frames": 3, "frame_size": (64, 96), "size": "custom", "head": head}
        found = import_state(read, Choices(**options))
        assert not found.unused
        for key, value in found.model.state_dict().items():
            assert torch.equal(value, plain[key]), f"{name}: {key}"
    half = take(dict(read_state(tmp_path / "c.safetensors").tensors)).state_dict()
    torch.testing.assert_close(half["head.score.conv.weight"], plain["head.score.conv.weight"], atol=2e-2, rtol=1e-2)


def test_several_networks_in_one_file(state: State, tmp_path: Path) -> None:
    other = {name: value + 1 if value.is_floating_point() else value for name, value in state.items()}
    torch.save({"model": state, "model_ema": other}, tmp_path / "two.pth")
    with pytest.raises(UnsupportedInput, match=r"two.pth: it holds networks at 'model', 'model_ema'; .*--entry"):
        read_state(tmp_path / "two.pth")
    read = read_state(tmp_path / "two.pth", "model_ema")
    assert torch.equal(read.tensors["head.bias"], state["head.bias"] + 1)
    with pytest.raises(UnsupportedInput, match="nothing at 'ema'; it holds networks at 'model', 'model_ema'"):
        read_state(tmp_path / "two.pth", "ema")


def _rename(old: str, new: str) -> EDIT:
    return lambda state: state.__setitem__(new, state.pop(old))


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda s: s.pop("block3.0.mlp.fc2_bn.running_var"), BadFile, r"'block3.0.mlp.fc2_bn.running_var' is missing"),
        (lambda s: s.pop("downsample3.encode_conv.weight"), BadFile, r"'downsample3.encode_conv.weight' is missing"),
        (
            lambda s: s.__setitem__("block4.0.attn.q_conv.0.body.2.0.weight", torch.zeros(64, 1, 5, 5)),
            BadFile,
            r"'block4.0.attn.q_conv.0.body.2.0.weight' is \[64, 1, 5, 5\], \[64, 1, 3, 3\] is needed",
        ),
        (lambda s: s["head.bias"].fill_(torch.nan), BadFile, "'head.bias' holds values that are not finite"),
        (
            lambda s: s.__setitem__("block3.0.attn.q_lif.w", torch.zeros(())),
            BadFile,
            "'block3.0.attn.q_lif.w' has no place in the network",
        ),
        (lambda s: s.pop("block3.0.attn.attn_bn.weight"), BadFile, "'block3.0.attn.attn_bn' is missing"),
        (lambda s: s.__setitem__("head.bias", s["head.bias"].to_sparse()), BadFile, "'head.bias' is sparse"),
        (
            lambda s: s.__setitem__("head.weight", torch.tensor(1.0)),
            UnsupportedInput,
            r"no linear layer is called 'head' \(other layers: head\)",
        ),
        (
            _rename("ConvBlock2_2.0.bn2.bias", "ConvBlock2_2.1.bn2.bias"),
            BadFile,
            r"'ConvBlock2_2.0.bn2.bias' is missing",
        ),
        (
            _rename("head.weight", "fc.weight"),
            UnsupportedInput,
            r"no linear layer is called 'head' \(other layers: fc\)",
        ),
    ],
)
def test_a_wrong_state_dict_is_named(state: State, edit: EDIT, error: type[Exception], message: str) -> None:
    changed = {name: value.clone() for name, value in state.items()}
    edit(changed)
    with pytest.raises(error, match=message):
        take(changed)


def test_an_unknown_size_is_refused_unless_it_is_wanted(state: State) -> None:
    with pytest.raises(UnsupportedInput, match=r"widths 16/32/48/64 are of no published size .*--size custom"):
        take(state, size=None)
    with pytest.raises(UnsupportedInput, match="--size 31M: the weights have widths 16/32/48/64"):
        take(state, size="31M")


def test_a_dot_product_leaves_its_form_open() -> None:
    with pytest.raises(UnsupportedInput, match="--space-time spatial"):
        take(small(hamming=False))


def test_normalisations_that_do_not_fit(state: State) -> None:
    with pytest.raises(UnsupportedInput, match="2 and 3 values for 3 channels"):
        take(state, mean=(0.5, 0.5))


class _Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch /tmp/svf-edge-was-here",)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_file_that_wants_code_to_be_run_is_refused(state: State, new_format: bool, tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"model": state, "extra": _Evil()}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(BadFile, match=r"evil.pth: asks for `(posix|os).system` to be run .*not loaded"):
        read_state(path)
    assert not Path("/tmp/svf-edge-was-here").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither safetensors nor a file of torch.save"),
        (b"hello world, this is no file", "neither safetensors nor"),
        (b"\xff\xff\xff\xff\x00\x00\x00\x00{}", "not a readable safetensors file"),
        (b"PK\x03\x04 and then nothing", "not a readable file of torch.save"),
        (b"\x80\x02]q\x00.", "not a readable file of torch.save"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "some.pth"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=f"some.pth: .*{message}"):
        read_state(path)
    with pytest.raises(BadFile, match=r"other.pth: no such file"):
        read_state(tmp_path / "other.pth")


def test_a_state_dict_of_something_else(tmp_path: Path) -> None:
    torch.save({"model": {"fc.weight": torch.zeros(2, 2)}}, tmp_path / "fc.pth")
    with pytest.raises(BadFile, match=r"no tensor is called '...downsample1_1.encode_conv.weight'"):
        read_state(tmp_path / "fc.pth")


def test_the_command(state: State, tmp_path: Path) -> None:
    torch.save({"model": {**state, "decode_head.weight": torch.zeros(3)}}, tmp_path / "w.pth")
    arguments = ["import", str(tmp_path / "w.pth"), "-o", str(tmp_path / "f.safetensors"), "--size", "custom"]
    arguments += ["--frame-size", "64x96", "--frames", "3", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"]
    result = CliRunner().invoke(build_app(), arguments)
    assert result.exit_code == 0, result.output
    assert "not used (1 tensors): decode_head.weight" in result.output
    model, meta = load_model(tmp_path / "f.safetensors")
    assert meta["imported"]["unused"] == ["decode_head.weight"]
    clip, half = clips()[0], (0.5, 0.5, 0.5)
    wanted = forward(state, clip, mean=half, std=half)
    torch.testing.assert_close(model.double()(clip[None])[0], wanted, atol=1e-6, rtol=1e-6)

    result = CliRunner().invoke(build_app(), [*arguments, "--new-head", "pose"])
    assert result.exit_code == 0, result.output
    assert "the pose head is new and untrained" in result.output
    model, meta = load_model(tmp_path / "f.safetensors")
    assert model.config.head.kind == "pose"
    assert set(meta["imported"]["unused"]) == {"decode_head.weight", "head.weight", "head.bias"}
