"""Energy: by hand to the last digit, counted a second time from the exported graph, and said with care."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from svf_edge.cli import build_app
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.export.bundle import write_bundle
from svf_edge.export.onnx import portable_model
from svf_edge.program import Conv, Frames, Lif, Output, Program, run, save_program
from svf_edge.runtimes.base import fingerprint
from svf_edge.runtimes.clips import GENERATORS
from svf_edge.runtimes.energy.counts import Counts, LayerWork, NeuronWork, count, spikes_at, spikes_of
from svf_edge.runtimes.energy.models import DRAM, INT32_ADD, SRAM_1M, SRAM_8K, operations, with_memory
from svf_edge.runtimes.energy.report import energy, measured_by
from tests.programs import noise_clip, random_program
from tests.runtimes.cards import card_of


def two_layers() -> Program:
    """Four pixels to two channels by 1x1, a neuron that fires from a pixel of 130 on, and a 2x2 over its spikes."""
    one, zero = np.ones(2, np.int32), np.zeros(2, np.int32)
    return Program(
        Frames((1, 1, 2, 2)),
        (
            Conv("first", "frames", np.ones((2, 1, 1, 1), np.int8), zero, zero, 0),
            Lif("neuron", "first", one, zero, one),
            Conv("second", "neuron", np.ones((3, 2, 2, 2), np.int8), np.zeros(3, np.int32), np.zeros(3, np.int32), 0),
        ),
        (Output("y", "second"),),
    )


CLIP = np.array([200, 130, 129, 5], np.uint8).reshape(1, 1, 2, 2)


def test_two_layers_by_hand() -> None:
    program = two_layers()
    # 4 positions x 2 channels read pixels: 8 MACs. The neurons see 72, 2, 1, -123, halved 36, 1, 0, -62; so two of four
    # positions fire in both channels: 4 spikes of 8. The second layer has 3 outputs over 2 x 2 x 2: 24 MACs, half met.
    counts = count(program, spikes_of(program, CLIP))
    assert spikes_of(program, CLIP) == {"neuron": 4}
    assert (counts.macs, counts.multiplied, counts.additions, counts.rate) == (32, 8, 12.0, 0.5)
    paper = operations(counts)
    assert paper.spiking.total == 4.6 * 8 + 0.9 * 12
    assert paper.dense.total == 4.6 * 32
    # 4.6 * 8 + 0.9 * 24 * r = 4.6 * 32 has r above 1: there is no rate at which the advantage ends.
    assert paper.even_rate is None

    memory = with_memory(counts)
    assert memory.spiking.arithmetic == math.fsum((0.2 * 8 + INT32_ADD * 8, INT32_ADD * 12, 2 * INT32_ADD * 8))
    assert memory.spiking.operands == 2 * SRAM_8K * 8 / 16 + SRAM_8K * 12
    assert memory.spiking.activations == SRAM_1M * 4 + SRAM_1M * 8 / 8 + SRAM_1M * 8 / 8
    assert memory.spiking.membranes == 2 * 4 * SRAM_1M * 8
    assert memory.spiking.weights == memory.dense.weights == DRAM * (2 + 24)
    assert memory.dense.activations == SRAM_1M * (4 + 8 + 8)


def test_at_the_even_rate_both_cost_the_same() -> None:
    sizes = {"weights": 9, "weight_bits": 8, "inputs": 10}
    layers = [
        LayerWork(name="stem", kind="frames", macs=1000, additions=0, rate=0, levels=1, **sizes),
        LayerWork(name="a", kind="spikes", macs=90_000, additions=9000, rate=0.1, levels=8, **sizes),
        LayerWork(name="qm", kind="attention", macs=500, additions=500, rate=0.1, levels=8, every_bit=True, **sizes),
    ]

    def counts(rate: float) -> Counts:
        changed = layers[1].model_copy(update={"additions": layers[1].macs * rate, "rate": rate})
        neurons = (NeuronWork(name="n", updates=100, levels=8, rate=rate),)
        return Counts((layers[0], changed, layers[2]), neurons)

    for model in (operations, with_memory):
        found = model(counts(0.1)).even_rate
        assert found is not None and found > 0.1
        there = model(counts(found))
        assert there.gain == pytest.approx(1, rel=1e-9)
        assert model(counts(found / 2)).gain > 1 > model(counts(min(8, found * 1.5))).gain


@pytest.mark.parametrize(
    "options", [{}, {"mode": "dot", "levels": 2}, {"scope": "temporal", "steps": 3}, {"pool_shift": 1}]
)
def test_the_exported_graph_has_as_many_operations(options: dict) -> None:
    """Counted from shapes that onnx infers in the portable graph, which knows nothing of the program's nodes."""
    program = random_program(channels=24, heads=3, **options)
    counts = count(program, spikes_of(program, noise_clip(program, 4)))
    graph = onnx.shape_inference.infer_shapes(portable_model(program), strict_mode=True, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output, *graph.input)
    }
    shapes |= {initializer.name: list(initializer.dims) for initializer in graph.initializer}
    from_graph = {"Conv": 0, "MatMul": 0}
    for node in graph.node:
        if node.op_type == "Conv":
            from_graph["Conv"] += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type == "MatMul":
            from_graph["MatMul"] += math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    attention = sum(layer.macs for layer in counts.layers if layer.kind == "attention")
    assert attention and from_graph["MatMul"] == attention
    assert from_graph["Conv"] == counts.macs - attention


def test_additions_are_what_an_event_driven_machine_does() -> None:
    """Without padding every spike meets every weight of its column: the expectation is a count."""
    program = random_program(channels=24, heads=3)
    clip = noise_clip(program, 4)
    spikes = run(program, clip).spikes
    counts = {layer.name: layer for layer in count(program, spikes_of(program, clip)).layers}
    fired = int(spikes["k.lif"].sum())
    k = next(node for node in program.nodes if node.name == "k.pw")
    assert isinstance(k, Conv)
    met = int(spikes["attn.lif"].sum()) * k.weight.shape[0]
    assert fired and counts["k.pw"].additions == pytest.approx(met, rel=1e-12)
    values = int(spikes["v.lif"].sum())
    assert counts["attn:kv"].additions == pytest.approx(values * 8, rel=1e-12)
    assert counts["attn:qm"].additions == counts["attn:qm"].macs
    assert counts["k.pw"].rate == float(Fraction(int(spikes["attn.lif"].sum()), spikes["attn.lif"].size))


def test_clips_are_averaged() -> None:
    program = random_program(channels=24, heads=3)
    clips = {name: GENERATORS[name](program.frames.shape) for name in ("noise", "black")}
    both = energy(program, clips, "p")
    each = [energy(program, {name: clip}, "p") for name, clip in clips.items()]
    assert both.additions == pytest.approx(sum(one.additions for one in each) / 2)
    assert each[0].rate != each[1].rate


def test_the_sentence_admits_what_is_no_measurement() -> None:
    program = random_program(channels=24, heads=3)
    report = energy(program, {"noise": noise_clip(program, 4)}, "p")
    assert report.with_memory.gain < report.operations.gain
    assert "nothing here was measured" in report.sentence
    assert f"{report.rate:.3f} spikes per neuron" in report.sentence


def test_the_command(tmp_path: Path) -> None:
    program = random_program(channels=24, heads=3)
    bundle = write_bundle(program, tmp_path / "bundle", {"noise": noise_clip(program, 4)}, targets=("onnx",))
    card = card_of(bundle, tmp_path, rails=True)
    arguments = ["energy", str(bundle.folder), "--card", str(card), "--layers", "--json", str(tmp_path / "e.json")]
    result = CliRunner().invoke(build_app(), arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "operations (paper)" in result.output and "attn:qm" in result.output and "VDD_IN" in result.output
    stored = json.loads((tmp_path / "e.json").read_text())
    assert stored["clips"] == ["noise"]
    [rail] = stored["measured"]
    assert rail["above_idle_mj"] == pytest.approx(1500 * 0.004)  # mW by seconds: what the card says
    assert rail["whole_mj"] == pytest.approx(5500 * 0.004)

    save_program(program, tmp_path / "p.safetensors")
    result = CliRunner().invoke(build_app(), ["energy", str(tmp_path / "p.safetensors")])
    assert isinstance(result.exception, UnsupportedInput) and "holds no clips" in str(result.exception)


def test_cards_that_do_not_fit(tmp_path: Path) -> None:
    program = random_program(channels=24, heads=3)
    bundle = write_bundle(program, tmp_path / "bundle", {"noise": noise_clip(program, 4)}, targets=("onnx",))
    with pytest.raises(BadFile, match="belongs to another bundle"):
        measured_by(card_of(bundle, tmp_path, rails=True), "0" * 64)
    with pytest.raises(BadFile, match="no power rails"):
        measured_by(card_of(bundle, tmp_path, rails=False), fingerprint(bundle))
    with pytest.raises(BadFile, match="holds 2 timed runtimes"):
        measured_by(card_of(bundle, tmp_path, rails=True, runtimes=2), fingerprint(bundle))
    with pytest.raises(BadFile, match="not a device card"):
        measured_by(tmp_path / "bundle" / "manifest.json", None)


@pytest.mark.parametrize("levels", [1, 3])
def test_rates_per_level(levels: int) -> None:
    """Half of all levels of every neuron: half of the products are left as additions, times the levels."""
    program = random_program(channels=24, heads=3, levels=levels)
    counts = count(program, spikes_at(program, {lif.name: 0.5 for lif in program.lifs}))
    on_spikes = sum(layer.additions for layer in counts.layers if layer.kind == "spikes")
    assert on_spikes == pytest.approx(levels * counts.of_kind("spikes") / 2)
    assert counts.of_kind("spikes", "attention") == pytest.approx(counts.packed_share * counts.macs)
    assert counts.rate == pytest.approx(levels / 2)
