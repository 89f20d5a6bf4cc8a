"""Tables of docs/benchmarks.md about speed and memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.results import Line, distributions, growth, load, soundness
from svf_edge.runtimes.latency import Distribution


def headline() -> str:
    """One sentence with the paired ratio on one thread."""
    result, stats = load("end_to_end"), on_one_thread("end_to_end")
    packed, fp32, int8 = (stats[name].p50 for name in ("packed", "fp32", "int8 QDQ"))
    worst = "noisy" if "noisy" in map(soundness, stats.values()) else "good"
    return (
        f"On one thread of an {result['machine']['cpu']}, ONNX Runtime with the packed operators runs the shipped "
        f"`{result['model']}` network in **{packed:.1f} ms** for {result['frames'][0]} frames: "
        f"**{fp32 / packed:.1f} times faster** than ONNX Runtime runs the same network in float32 ({fp32:.1f} ms), and "
        f"{int8 / packed:.1f} times faster than its own int8 form of it ({int8:.1f} ms). Medians of "
        f"{stats['fp32'].count} runs in turns on the shipped clip, {result['spikes_per_neuron']:.2f} "
        f"spikes per neuron and frame; the measurement judged itself {worst}."
    )


def on_one_thread(name: str) -> dict[str, Distribution]:
    """Times of every variant in a result file of `benchmarks.end_to_end`, ms."""
    case = next(case for case in load(name)["cases"] if case["threads"] == 1)
    return distributions(case["samples_ms"])


def end_to_end(name: str) -> str:
    """Medians and tails of every variant and thread count of one network."""
    result = load(name)
    lines = [
        "| threads | variant | p50 ms | p90 ms | p99 ms | vary | measurement | packed is faster |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in result["cases"]:
        stats = distributions(case["samples_ms"])
        for variant, one in stats.items():
            lines.append(
                f"| {case['threads']} | {variant} | {one.p50:.2f} | {one.p90:.2f} | {one.p99:.2f} | "
                f"{one.variation:.0%} | {soundness(one)} | {one.p50 / stats['packed'].p50:.2f}x |"
            )
    rate = f"{result['spikes_per_neuron']:.2f} spikes per neuron and frame"
    steps, channels, height, width = result["frames"]
    return "\n".join(
        [*lines, "", f"`{result['model']}`, frames {steps} x {channels} x {height} x {width}, {rate}. {where(result)}"]
    )


def convolutions() -> str:
    """Spike convolutions over firing rates."""
    result = load("kernels")
    lines = [
        "| convolution | firing | ORT fp32 ms | ORT int8 ms | event ms | dense ms | auto ms | auto, LIF fused ms | "
        "event against int8 | auto against int8 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["convolutions"]:
        p50 = _medians(row)
        names = ("ORT fp32", "ORT int8", "event", "dense", "auto", "auto, LIF fused")
        lines.append(
            f"| {row['name']} | {row['rate']:.0%} | {' | '.join(f'{p50[name]:.3f}' for name in names)} | "
            f"{p50['ORT int8'] / p50['event']:.2f}x | {p50['ORT int8'] / p50['auto']:.2f}x |"
        )
    plot = "![Speed against ORT int8 over firing rates](plots/convolutions.svg)"
    return "\n".join([*lines, "", plot, "", where(result)])


def other_kernels() -> str:
    """LIF, attention and depthwise convolutions against ONNX Runtime."""
    result = load("kernels")
    lines = [
        "| kernel | ORT fp32 ms | ORT int8 ms | packed ms | against fp32 | against int8 |",
        "|---|---|---|---|---|---|",
    ]
    rows = [
        *({**row, "name": f"LIF and pack, {row['name']}"} for row in result["lif"]),
        *({**row, "name": f"Hamming attention, {row['name']}"} for row in result["attention"]),
        *result["depthwise"],
    ]
    for row in rows:
        p50 = _medians(row)
        packed = p50["packed"]
        int8 = p50.get("ORT int8")
        lines.append(
            f"| {row['name']} | {p50['ORT fp32']:.3f} | {'' if int8 is None else f'{int8:.3f}'} | {packed:.3f} | "
            f"{p50['ORT fp32'] / packed:.2f}x | {'' if int8 is None else f'{int8 / packed:.2f}x'} |"
        )
    return "\n".join(lines)


def roofline() -> str:
    """What each kernel reaches of what the core can do at best."""
    result = load("kernels")
    peaks = result["peaks"]
    lines = ["| kernel | bound by | reached | best | fraction | ORT int8 reaches |", "|---|---|---|---|---|---|"]

    def add(name: str, bound: str, reached: float, best: float, unit: str, library: str = "") -> None:
        fraction = f"{reached / best:.0%}" if best else ""
        lines.append(f"| {name} | {bound} | {reached:.0f} {unit} | {best:.0f} {unit} | {fraction} | {library} |")

    dot, row_add = peaks["dot"], peaks["add"]
    rates = sorted({row["rate"] for row in result["convolutions"]})
    for row in result["convolutions"]:
        p50, macs = _medians(row), row["macs"] / 1e6
        library = f"{macs / p50['ORT int8'] / dot:.0%}" if dot else ""
        if row["rate"] == rates[-1]:
            add(f"dense {row['name']}", "byte products", macs / p50["dense"], dot, "MAC/ns", library)
        if row["rate"] == 0.1:
            reached = row["rate"] * macs / p50["event"]
            add(f"event {row['name']}, {row['rate']:.0%}", "int16 row additions", reached, row_add, "adds/ns")
    for row in result["depthwise"]:
        p50, macs = _medians(row), row["macs"] / 1e6
        library = f"{macs / p50['ORT int8'] / dot:.0%}" if dot else ""
        add(row["name"], "byte products", macs / p50["packed"], dot, "MAC/ns", library)
    for row in result["lif"]:
        reached = row["bytes"] / _medians(row)["packed"] / 1e6
        add(f"LIF and pack, {row['name']}", "reading memory", reached, row["bandwidth"], "B/ns")
    for row in result["attention"]:
        reached = row["macs"] / _medians(row)["packed"] / 1e6
        name = f"Hamming attention, {row['name']}"
        add(name, "float32 products, if it used any", reached, peaks["fma"], "MAC/ns")
    return "\n".join(lines)


def sweep() -> str:
    """The 15M size over firing rates."""
    result = load("sweep")
    stats = distributions(result["samples_ms"])
    lines = ["| firing | packed ms | against ORT int8 | against ORT fp32 |", "|---|---|---|---|"]
    for rate in result["spikes_per_neuron"]:
        packed = stats[rate].p50
        lines.append(
            f"| {rate} % | {packed:.1f} | {stats['int8 QDQ'].p50 / packed:.2f}x | {stats['fp32'].p50 / packed:.2f}x |"
        )
    alternatives = f"ORT int8 takes {stats['int8 QDQ'].p50:.1f} ms, ORT fp32 {stats['fp32'].p50:.1f} ms, at any rate."
    plot = "![Time over firing rates](plots/firing_rates.svg)"
    return "\n".join([*lines, "", plot, "", f"{alternatives} {where(result)}"])


def scaling() -> str:
    """Lines fitted to the cost over clip length and tokens."""
    result = load("scaling")
    lines = [
        "| over | form | slope | at zero | worst point off the line | R squared | growth exponent |",
        "|---|---|---|---|---|---|---|",
    ]
    units = {"frames": ("ms a frame", 1.0), "tokens": ("us a token", 1e3)}
    for over, (unit, scale) in units.items():
        for form, samples in result[over].items():
            points = {float(number): one.p50 for number, one in distributions(samples).items()}
            line = Line.fit(points)
            lines.append(
                f"| {over} {min(points):.0f} to {max(points):.0f} | {form} | {line.slope * scale:.3f} {unit} | "
                f"{line.intercept:.2f} ms | {line.worst:.0%} | {line.r_squared:.4f} | {growth(points):.2f} |"
            )
    return "\n".join(
        [
            *lines,
            "",
            "![Time over frames and over tokens](plots/scaling.svg)",
            "",
            f"`{result['model']}` with binary spikes at {result['rate']:.0%} firing; frames of {result['side']} x "
            f"{result['side']} over clip length, clips of {result['steps']} frames over tokens. {where(result)}",
        ]
    )


def memory() -> str:
    """Peak memory by network and form."""
    result = load("memory")
    lines = ["| network | form | working MiB | of fp32's | loaded MiB | total MiB |", "|---|---|---|---|---|---|"]
    base = {row["network"]: row["working"] for row in result["rows"] if row["form"] == "fp32"}
    for row in result["rows"]:
        loaded, working, total = (row[key] / 2**20 for key in ("loaded", "working", "total"))
        share = row["working"] / base[row["network"]]
        lines.append(f"| {row['network']} | {row['form']} | {working:.1f} | {share:.2f} | {loaded:.0f} | {total:.0f} |")
    return "\n".join([*lines, "", where(result)])


def _medians(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: one.p50 for name, one in distributions(row["samples_ms"]).items()}


def where(result: Mapping[str, Any]) -> str:
    """The conditions in one sentence."""
    machine, versions = result["machine"], result["versions"]
    packages = ", ".join(
        f"{name} {versions[name]}" for name in ("onnxruntime", "executorch", "torch") if name in versions
    )
    amx = f"AMX: {result['amx']}; " if "amx" in result else ""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; kernels {result['kernels']}; {amx}{packages}"
        f"; {result['date']}; load average {result['load_before'][0]:.1f} before the measurement."
    )


def instructions() -> str:
    """Innermost loops of the kernels: instructions per multiply-accumulate beside a library's, and modelled cycles."""
    result = load("instructions")
    lines = [
        "| kernel set | kernel | innermost loop | instructions per MAC | library's tile | its instructions per MAC | "
        "MAC per cycle (llvm-mca) |",
        "|---|---|---|---|---|---|---|",
    ]
    for loop in result["loops"]:
        cycles = f"{loop['products'] / loop['cycles']:.1f}, {loop['processor']}" if loop["cycles"] else "not modelled"
        lines.append(
            f"| {loop['kernel_set']} | {loop['kernel']} | `{loop['function']}` "
            f"| {loop['instructions'] / loop['products']:.3f} | {loop['library']} "
            f"| {loop['library_instructions_per_product']:.3f} | {cycles} |"
        )
    lines += [
        "",
        f"Loops as GCC made them, read from the object files; cycles are llvm-mca's of LLVM {result['llvm_mca']}.",
    ]
    return "\n".join(lines)
