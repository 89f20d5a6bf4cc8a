"""Tables of docs/profiles.md: where the time of each network goes, and what its arithmetic would take at best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from benchmarks.results import load
from benchmarks.speed_tables import on_one_thread, where

SLOWEST = 12
WANTED = 4
"""Times faster than ONNX Runtime's int8 form: what was asked for at 10 % firing."""


UNPROFILED = ("end_to_end", "mobile_10", "published_10")
"""Result files with whole runs of the same networks, without the profiler."""


def by_kind(index: int) -> str:
    """Nodes of both forms of one network by the kind of their work, beside the least time of its products.

    Whole runs are those without the profiler, which weighs most on a form of many small nodes.
    """
    result = load("profiles")
    network = result["networks"][index]
    best = _sums((layer["kind"], _best(layer, result["peaks"])) for layer in network["layers"])
    macs = _sums((layer["kind"], layer["macs"] / 1e6) for layer in network["layers"])
    packed, int8 = (_form(network["forms"][form]) for form in ("packed", "int8 QDQ"))
    lines = [
        "| work | M MACs | at best ms | packed ms | share | int8 QDQ ms | share |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in sorted({*packed, *int8}, key=lambda kind: (-packed.get(kind, 0.0), -int8.get(kind, 0.0))):
        known = f"{macs[kind]:.1f} | {best[kind]:.3f}" if kind in macs else " | "
        lines.append(f"| {kind} | {known} | {_cell(packed, kind)} | {_cell(int8, kind)} |")
    whole, other, least = sum(packed.values()), sum(int8.values()), sum(best.values())
    alone = on_one_thread(UNPROFILED[index])
    ours, wanted = alone["packed"].p50, alone["int8 QDQ"].p50 / WANTED
    around = sum(taken for kind, taken in int8.items() if kind not in macs)
    lines += [
        f"| all | {sum(macs.values()):.1f} | {least:.3f} | {whole:.3f} | | {other:.3f} | |",
        "",
        f"Without the profiler packed takes {ours:.2f} ms, where it reaches {least / ours:.0%} of the core's best, and "
        f"int8 QDQ {alone['int8 QDQ'].p50:.2f} ms; {WANTED} times faster than that would be {wanted:.2f} ms and "
        f"{least / wanted:.0%}. Of the profiled time of int8 QDQ {around / other:.0%} is outside its convolutions and "
        f"attention, and {1 - around / other:.0%} ({other - around:.2f} ms) in them. {_title(network)}.",
    ]
    return "\n".join(lines)


def slowest(index: int) -> str:
    """The nodes of the packed graph that take longest."""
    result = load("profiles")
    network = result["networks"][index]
    best = _sums((layer["layer"], _best(layer, result["peaks"])) for layer in network["layers"])
    macs = _sums((layer["layer"], layer["macs"] / 1e6) for layer in network["layers"])
    lines = ["| layer | work | M MACs | at best ms | packed ms | reached |", "|---|---|---|---|---|---|"]
    nodes = sorted(network["forms"]["packed"]["nodes"], key=lambda node: -node["ms"])
    for node in nodes[:SLOWEST]:
        layer = node["layer"]
        known = f"{macs[layer]:.1f} | {best[layer]:.3f}" if layer in macs else " | "
        reached = f"{best[layer] / node['ms']:.0%}" if layer in best else ""
        lines.append(f"| `{layer or node['node']}` | {node['kind']} | {known} | {node['ms']:.3f} | {reached} |")
    rest = sum(node["ms"] for node in nodes[SLOWEST:])
    return "\n".join([*lines, "", f"The other {len(nodes) - SLOWEST} nodes take {rest:.3f} ms. {where(result)}"])


def _best(layer: Mapping[str, Any], peaks: Mapping[str, float]) -> float:
    """Milliseconds: all products at their peak, or the additions that spikes call for at theirs."""
    ways = [layer["macs"] / peaks["dot"]] if peaks["dot"] else []
    if layer["additions"]:
        ways.append(layer["additions"] / peaks["add"])
    return float(min(ways, default=0.0)) / 1e6


def _form(form: Mapping[str, Any]) -> dict[str, float]:
    """Milliseconds by kind, and what the median run takes beside its nodes."""
    sums = _sums((node["kind"], node["ms"]) for node in form["nodes"])
    return {**sums, "between nodes": max(float(np.median(form["runs_ms"])) - sum(sums.values()), 0.0)}


def _sums(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name, value in pairs:
        sums[name] = sums.get(name, 0.0) + value
    return sums


def _cell(form: Mapping[str, float], kind: str) -> str:
    return f"{form[kind]:.3f} | {form[kind] / sum(form.values()):.0%}" if kind in form else " | "


def _title(network: Mapping[str, Any]) -> str:
    size = " x ".join(str(number) for number in network["frames"])
    levels = "binary spikes" if network["levels"] == 1 else f"{network['levels']} levels"
    return (
        f"`{network['model']}`, frames {size}, {levels}, {network['spikes_per_neuron']:.2f} spikes per neuron and frame"
    )
