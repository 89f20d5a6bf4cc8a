"""Where the time of a run goes: our packed graph beside ONNX Runtime's int8 form of the same network, node by node.

    python -m benchmarks.profiles

ONNX Runtime's own profiler times the nodes on one thread; they are joined with the layers of the program. Beside each
layer stands the least time that its arithmetic could take on this core (`benchmarks.probes`): every product of a dense
computation at the peak of the byte products, or every addition that its spikes call for at the peak of int16 rows.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer

from benchmarks import amx
from benchmarks.end_to_end import CALIBRATION, Choice, network_of
from benchmarks.float_twin import float_twin
from benchmarks.int8_twin import int8_twin
from benchmarks.networks import Network
from benchmarks.probes import peak
from benchmarks.turns import RESULTS, Inputs, conditions, onnx_session, store
from svf_edge.export.fusion import AttentionLif, ConvLif, fuse
from svf_edge.export.onnx import packed_model
from svf_edge.program import Attention, Conv, Node, Program
from svf_edge.runtimes.energy.counts import count

RESULT = RESULTS / "profiles.json"
NETWORKS: tuple[Choice, ...] = ("shipped", "mobile", "10")
NEURONS, LAYOUT, REST = "LIF and additions", "quantising and layouts", "other nodes"
LAYOUT_OPERATORS = re.compile(r"(Quantize|Dequantize)Linear|Transpose|Reorder(Input|Output)|Reshape|ChannelsLast")


def profile(network: Network, turns: int, runs: int) -> dict[str, Any]:
    """Both forms in turns: wall times of whole runs, median times of their nodes, and the work of the layers."""
    program, clips = network.program, network.clips[:CALIBRATION]
    forms = {
        "packed": packed_model(program, rates=network.rates),
        "int8 QDQ": int8_twin(float_twin(program), clips),
    }
    inputs = {program.frames.name: clips[0]}
    found: dict[str, list[dict[str, Any]]] = {form: [] for form in forms}
    for _ in range(turns):
        for form, model in forms.items():
            found[form].append(_turn(model, inputs, runs, ours=form == "packed"))
    steps, nodes = _steps(program), {node.name: node for node in program.nodes}
    return {
        "model": network.name,
        "frames": list(program.frames.shape),
        "levels": max(lif.levels for lif in program.lifs),
        "spikes_per_neuron": network.spikes_per_neuron,
        "layers": work(network),
        "forms": {
            form: {
                "runs_ms": [run for turn in turns_of for run in turn["runs"]],
                "nodes": _nodes(program, turns_of, steps if form == "packed" else nodes),
            }
            for form, turns_of in found.items()
        },
    }


def _turn(model: onnx.ModelProto, inputs: Inputs, runs: int, *, ours: bool) -> dict[str, Any]:
    """`runs` runs, by the profiler: ms of each, and of every node `[operator, ms of each run]` by name."""
    with tempfile.TemporaryDirectory() as folder:
        session = onnx_session(model, 1, ours=ours, profile=Path(folder) / "profile")
        for _ in range(runs):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes: dict[str, tuple[str, list[float]]] = {}
    whole = []
    for event in events:
        if event["name"] == "model_run":
            whole.append(event["dur"] / 1e3)
        elif event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            nodes.setdefault(name, (event["args"]["op_name"], []))[1].append(event["dur"] / 1e3)
    return {"runs": whole[1:], "nodes": {name: (operator, taken[1:]) for name, (operator, taken) in nodes.items()}}


def _nodes(program: Program, turns: Sequence[Mapping[str, Any]], owners: Mapping[str, Node]) -> list[dict[str, Any]]:
    """Every node in running order: its operator, the layer that it belongs to, its kind and its median time."""
    names = "|".join(re.escape(name) for name in sorted(owners, key=len, reverse=True))
    begins = re.compile(rf"({names})(?![\w.])|({names})_")
    rows = []
    for name, (operator, _) in turns[0]["nodes"].items():
        found = begins.match(name)
        owner = owners[found[1] or found[2]] if found else None
        taken = [run for turn in turns for run in turn["nodes"][name][1]]
        rows.append(
            {
                "node": name,
                "operator": operator,
                "layer": None if owner is None else owner.name,
                "kind": LAYOUT if LAYOUT_OPERATORS.fullmatch(operator) else kind(program, owner),
                "ms": float(np.median(taken)),
            }
        )
    return rows


def _steps(program: Program) -> dict[str, Node]:
    """By the nodes of a packed graph, which are named after their last layer: the convolution or attention in them."""
    owners: dict[str, Node] = {}
    for step in fuse(program):
        match step:
            case ConvLif():
                owners[step.lif.name] = step.conv
            case AttentionLif():
                owners[step.lif.name] = step.attention
            case _:
                owners[step.name] = step
    return owners


def kind(program: Program, node: Node | None) -> str:
    """What a layer computes, as the table of kinds has it."""
    match node:
        case None:
            return REST
        case Conv():
            source = program.types[node.source].kind
            size = f"{node.weight.shape[2]}x{node.weight.shape[3]}"
            if source == "frames":
                return f"{size} of frames"
            return f"{'depthwise ' if node.groups > 1 else ''}{size} of {'bytes' if source == 'int8' else 'spikes'}"
        case Attention():
            return "attention"
        case _:
            return NEURONS


def work(network: Network) -> list[dict[str, Any]]:
    """The layers with products: their kind, products of a dense computation, additions that spikes call for, or 0."""
    program = network.program
    spikes = {lif.name: network.rates[lif.name] * np.prod(program.types[lif.name].shape) for lif in program.lifs}
    nodes = {node.name: node for node in program.nodes}
    rows = []
    for layer in count(program, {name: round(spiked) for name, spiked in spikes.items()}).layers:
        node = nodes[layer.name.partition(":")[0]]
        additions = 0.0 if isinstance(node, Attention) else layer.additions
        rows.append({"layer": node.name, "kind": kind(program, node), "macs": layer.macs, "additions": additions})
    return rows


def main(
    turns: Annotated[int, typer.Option(min=1, help="Turns of each form.")] = 3,
    runs: Annotated[int, typer.Option(min=2, help="Runs in a turn; the first is not counted.")] = 20,
) -> None:
    """Measure and write the result file."""
    amx.deny()
    before = conditions("onnxruntime")
    networks = [profile(network_of(which), turns, runs) for which in NETWORKS]
    store(RESULT, {**before, "peaks": {name: peak(name) for name in ("dot", "add")}, "networks": networks})


if __name__ == "__main__":
    typer.run(main)
