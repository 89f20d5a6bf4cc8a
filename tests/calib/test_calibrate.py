"""From a float model to a quantised one: bits, budgets, fraction bits, warnings, the command and its report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from svf_edge import shipped
from svf_edge.calib.bitwidths import assign
from svf_edge.calib.calibrate import calibrate, model_bytes
from svf_edge.calib.clips import complaints, video_clips
from svf_edge.calib.compare import Reference
from svf_edge.calib.sensitivity import Cost
from svf_edge.cli import build_app
from svf_edge.data.video import iter_clips
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.model_store import load_model, save_model
from svf_edge.program import run
from svf_edge.program.freeze import freeze
from svf_edge.quant import expand_weight_bits, quantise, weight_bits_of
from tests.models import spikes_of
from tests.programs import assert_not_silent


def test_eight_bits_answer_like_the_float_model(small_model: SpikeVideoFormer, small_clips: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in small_model.state_dict().items()}
    eight, two = (calibrate(small_model, small_clips, bits=bits) for bits in (8, 2))
    nearest = quantise(small_model, eight.exponents, expand_weight_bits(small_model, 2)).eval()
    worst = Reference(small_model, [small_clips]).compare(nearest)
    assert two.difference.divergence < 0.5 * worst.divergence and two.difference.flip_rate < 0.8 * worst.flip_rate
    # A random network amplifies every flip from layer to layer; the first layer shows what rounding alone does.
    first = next(iter(eight.difference.flips))
    assert eight.difference.flips[first] < 0.01 < two.difference.flips[first] < worst.flips[first]
    assert eight.bytes > two.bytes == model_bytes(two.model)
    assert set(two.errors) == set(two.bits) and not eight.errors
    for name, tensor in small_model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], msg=name)


def test_a_budget_is_kept_and_every_bit_reaches_the_program(
    small_model: SpikeVideoFormer, small_clips: Tensor, tmp_path: Path
) -> None:
    whole = calibrate(small_model, small_clips, bits=8).bytes
    result = calibrate(small_model, small_clips, budget=whole // 2)
    assert whole // 2 >= result.bytes > 0.8 * (whole // 2)
    assert len(set(result.bits.values())) > 1
    save_model(result.model, tmp_path / "m.safetensors", {})
    loaded, _ = load_model(tmp_path / "m.safetensors")
    assert weight_bits_of(loaded) == result.bits
    clip = small_clips[0].numpy()
    trace = run(freeze(loaded), clip)
    assert_not_silent(trace.spikes)
    _, spikes = spikes_of(result.model, clip)
    for name, values in spikes.items():
        np.testing.assert_array_equal(trace.spikes[name], values, err_msg=name)


def test_fraction_bits(small_model: SpikeVideoFormer, small_clips: Tensor) -> None:
    assert calibrate(small_model, small_clips, fraction_bits=5).model.config.fraction_bits == 5
    fewest = calibrate(small_model, small_clips, smallest_fraction=True)
    usual = calibrate(small_model, small_clips)
    assert 4 <= fewest.model.config.fraction_bits <= usual.model.config.fraction_bits
    assert fewest.difference.divergence <= 1.1 * usual.difference.divergence + 1e-9
    with pytest.raises(UnsupportedInput, match="fraction_bits"):
        calibrate(small_model, small_clips, fraction_bits=20)


def test_patterns(small_model: SpikeVideoFormer) -> None:
    bits = expand_weight_bits(small_model, 8, {"head.*": 2, "*": 4})
    assert bits["head.read"] == 2 and bits["backbone.0.conv"] == 4
    with pytest.raises(UnsupportedInput, match=r"no layer is called 'haed\.read'; the closest is 'head\.read'"):
        expand_weight_bits(small_model, 8, {"haed.read": 4})
    with pytest.raises(UnsupportedInput, match="weights of 3 bits; use one of 8, 4, 2"):
        expand_weight_bits(small_model, 3)


def test_assignment_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    costs = [
        Cost(f"l{layer}", bits, size * bits, float(rng.random()) * (8 - bits), 0.0, None)
        for layer, size in enumerate((10, 30, 7, 22, 15))
        for bits in (8, 4, 2)
    ]
    choices = np.stack(np.meshgrid(*[range(3)] * 5), -1).reshape(-1, 5) + 3 * np.arange(5)
    sizes = np.array([cost.bytes for cost in costs])[choices].sum(1)
    prices = np.array([cost.divergence for cost in costs])[choices].sum(1)
    for budget in (200, 300, 500, 672):
        chosen = assign(costs, budget)
        picked = [cost for cost in costs if chosen[cost.layer] == cost.bits]
        assert sum(cost.bytes for cost in picked) <= budget
        assert sum(cost.divergence for cost in picked) == pytest.approx(prices[sizes <= budget].min(), abs=1e-6)
    with pytest.raises(UnsupportedInput, match="take at least"):
        assign(costs, 100)


def test_complaints(small_clips: Tensor) -> None:
    several = torch.cat([small_clips, 255 - small_clips, small_clips.flip(-1), small_clips.flip(-2)])
    noise = torch.randint(0, 256, several.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    bright = (noise // 4 + torch.arange(len(noise))[:, None, None, None, None] * 4).to(torch.uint8)
    assert complaints(bright, {"a": 0.1}, {"a": 0.11}) == []
    (few,) = complaints(bright[:5], {}, {})
    assert few.startswith("only 5 clips")
    assert any("look almost like another" in line for line in complaints(bright[:1].repeat(40, 1, 1, 1, 1), {}, {}))
    assert any("of the frames are black" in line for line in complaints(torch.zeros_like(bright), {}, {}))
    (unlike,) = complaints(bright, {"a": 0.5, "b": 0.1}, {"a": 0.1, "b": 0.1})
    assert "1 of 2 layers fire unlike the checkpoint's record (most of all a: 0.500 against 0.100)" in unlike


def test_clips_of_a_folder_are_spread_over_its_videos(small_model: SpikeVideoFormer, tmp_path: Path) -> None:
    config = small_model.config
    every = np.stack(list(iter_clips(shipped.CLIP, config.frames, config.frame_size)))
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(shipped.CLIP.read_bytes())
    found = video_clips(tmp_path, config, 6).numpy()
    assert found.shape == (6, config.frames, 3, *config.frame_size) and found.dtype == np.uint8
    for clip in (found[0], found[3]):
        np.testing.assert_array_equal(clip, every[0])
    assert any(np.array_equal(found[2], clip) for clip in every[len(every) // 2 :])
    with pytest.raises(BadFile, match="holds no video"):
        video_clips(tmp_path / "nothing", config, 6)


def test_the_command_leaves_a_checkpoint_and_a_report(small_model: SpikeVideoFormer, tmp_path: Path) -> None:
    source = tmp_path / "float.safetensors"
    save_model(small_model, source, {"firing_rates": {}})
    output = tmp_path / "small.safetensors"
    arguments = ["calibrate", str(source), "-o", str(output), "--count", "4", "--bits", "4", "--labelled", "0"]
    result = CliRunner().invoke(build_app(), [*arguments, "--layer-bits", "head.read=8", "--threads", "1"])
    assert result.exit_code == 0, result.output
    model, meta = load_model(output)
    widths = weight_bits_of(model)
    assert widths.pop("head.read") == 8 and set(widths.values()) == {4}
    record = json.loads((tmp_path / "small.report.json").read_text())
    assert record["bits"] == weight_bits_of(model) and record["clips"]["warnings"][0].startswith("only 4 clips")
    assert meta["calibration"]["bytes"] == record["bytes"] == model_bytes(model)
    page = (tmp_path / "small.report.html").read_text()
    assert "only 4 clips" in page and "head.read" in page
    again = CliRunner().invoke(build_app(), ["calibrate", str(output), "-o", str(output)])
    assert isinstance(again.exception, BadFile) and "quantised already" in str(again.exception)
    alone = CliRunner().invoke(build_app(), ["calibrate", str(source), "-o", str(output), "--bits", "auto"])
    assert isinstance(alone.exception, UnsupportedInput) and "go together" in str(alone.exception)
