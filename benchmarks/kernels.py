"""Every kernel against the same work in ONNX Runtime, one thread, in one process, beside what the core can do at best.

    python -m benchmarks.kernels

Our kernels are called through the C API with prepared weights; ONNX Runtime runs a graph of one operator on bound
buffers, int8 convolutions in its own channels-last operator, so that neither side pays for layouts or allocation. Every
output is checked before it is timed.
"""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.utils import Extractor

from benchmarks import amx
from benchmarks.float_twin import float_twin
from benchmarks.int8_twin import quantised
from benchmarks.networks import convolve
from benchmarks.probes import peak, read_bandwidth
from benchmarks.turns import RESULTS, Pace, Run, Variant, bound_variant, check, conditions, store, take_turns
from svf_edge.export.onnx.writer import IR_VERSION, OPSET
from svf_edge.export.ops.library import AttentionParams, Conv2dParams, LifParams, LifStage, core, last_error
from svf_edge.packing import pack_spikes, word_count
from svf_edge.program import Attention, Conv, Frames, Lif, Node, Output, Program, interpret

RESULT = RESULTS / "kernels.json"
STEPS = 4
DENSITY = {"auto": 0, "event": 1, "dense": 2}  # svf_density
INSIDE, OUTSIDE = 1 << 18, 1 << 26
"""Bytes of LIF inputs that lie well inside a second-level cache, and well outside any."""

Array = NDArray[Any]


@dataclass(frozen=True)
class ConvCase:
    """A convolution of `into` channels to `out` on `size` x `size` positions, padded so that stride 1 keeps them."""

    name: str
    into: int
    out: int
    kernel: int
    size: int
    groups: int = 1

    @property
    def macs(self) -> int:
        """Multiply-adds of a dense computation, borders included."""
        return STEPS * self.size**2 * self.out * self.into // self.groups * self.kernel**2


CONVOLUTIONS = (
    ConvCase("3x3, 64 to 256 at 56x56", 64, 256, 3, 56),
    ConvCase("3x3, 128 to 512 at 28x28", 128, 512, 3, 28),
    ConvCase("3x3, 512 to 128 at 28x28", 512, 128, 3, 28),
    ConvCase("1x1, 256 to 1024 at 14x14", 256, 1024, 1, 14),
    ConvCase("1x1, 1024 to 256 at 14x14", 1024, 256, 1, 14),
)
DEPTHWISE = (
    ConvCase("depthwise 7x7, 128 at 56x56", 128, 128, 7, 56, 128),
    ConvCase("depthwise 7x7, 256 at 28x28", 256, 256, 7, 28, 256),
)
RATES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
ATTENTIONS = ((784, 256, 8), (784, 360, 8), (3136, 256, 8))  # tokens, channels, heads


def ours(function: str, *arguments: Any) -> None:
    """Call an operator of the core. Raises `SystemExit` with its own sentence when it refuses."""
    if getattr(core(), function)(*arguments):
        raise SystemExit(f"{function}: {last_error()}")


def pointer(array: Array) -> ctypes.c_void_p:
    """The data of an array that must be contiguous."""
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def spike_convolution(case: ConvCase, node: Conv, spikes: Array, density: str, lif: Lif | None) -> Variant:
    """Our kernel on packed spikes, weights prepared; with `lif` fused to it, whose spikes are then its output."""
    words = np.ascontiguousarray(pack_spikes(spikes))
    weight = np.ascontiguousarray(node.weight.transpose(2, 3, 1, 0))
    saturates = node.out == "int8"
    params = Conv2dParams(
        frames=STEPS,
        height=case.size,
        width=case.size,
        in_channels=case.into,
        out_channels=case.out,
        kernel=(case.kernel, case.kernel),
        stride=(1, 1),
        padding=(case.kernel // 2, case.kernel // 2),
        groups=case.groups,
        output_type=1 if saturates else 2,
        levels=1,
        density=DENSITY[density],
    )
    shape = (STEPS, case.size, case.size)
    y: Array = np.empty((*shape, case.out), np.int8 if saturates else np.int32)
    expected: Array = convolve(node, spikes)
    if lif is not None:
        y = np.empty((*shape, word_count(case.out)), np.int32)
        expected = pack_spikes(interpret.lif(lif, expected)[0])
        stage = LifStage(
            *(array.ctypes.data for array in (lif.gain, lif.bias, lif.theta)), None, None, y.ctypes.data, 0, 1
        )
    else:
        expected = expected.transpose(0, 2, 3, 1)

    @contextmanager
    def opened() -> Iterator[Run]:
        prepared = ctypes.c_void_p()
        ours("svf_prepare_weights", ctypes.byref(params), 1, pointer(weight), ctypes.byref(prepared))
        constants = (pointer(node.bias), pointer(node.shift))
        inputs = (ctypes.byref(params), pointer(words), pointer(weight), prepared, *constants)

        def run() -> Array:
            if lif is None:
                ours("svf_spike_conv2d", *inputs, pointer(y), None)
            else:
                ours("svf_spike_conv2d_lif", *inputs, ctypes.byref(stage), None)
            return y

        try:
            yield run
        finally:
            core().svf_release_weights(prepared)

    return Variant(opened, partial(np.array_equal, expected))


def float_convolution(case: ConvCase, node: Conv, spikes: Array) -> Variant:
    """ONNX Runtime's float32 convolution of the same integers; its sums must be ours."""
    sums = convolve(dataclasses.replace(node, shift=0 * node.shift, bias=0 * node.bias, out="fixed"), spikes)
    model = one_node(
        "Conv",
        ["x", "w"],
        {"x": spikes.astype(np.float32)},
        {"w": node.weight.astype(np.float32)},
        sums.astype(np.float32),
        pads=[case.kernel // 2] * 4,
        group=case.groups,
    )
    return bound_variant(model, {"x": spikes.astype(np.float32)}, partial(np.array_equal, sums))


def int8_convolution(case: ConvCase, node: Conv, spikes: Array) -> Variant:
    """ONNX Runtime's int8 convolution, channels last (what its own optimiser turns QDQ into), weights per channel."""
    sums = convolve(dataclasses.replace(node, shift=0 * node.shift, bias=0 * node.bias, out="fixed"), spikes)
    sums = sums.transpose(0, 2, 3, 1)
    unit = np.float32(np.abs(sums).max() / 120)
    x = np.ascontiguousarray(spikes.transpose(0, 2, 3, 1)).astype(np.uint8)
    constants: dict[str, Array] = {
        "x_scale": np.array(1, np.float32),
        "x_zero": np.array(0, np.uint8),
        "w": node.weight,
        "w_scale": np.ones(case.out, np.float32),
        "w_zero": np.zeros(case.out, np.int8),
        "y_scale": np.array(unit),
        "y_zero": np.array(128, np.uint8),
        "b": np.zeros(case.out, np.int32),
    }
    names = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero", "b"]
    model = one_node(
        "QLinearConv",
        names,
        {"x": x},
        constants,
        np.zeros(sums.shape, np.uint8),
        "com.microsoft",
        channels_last=1,
        pads=[case.kernel // 2] * 4,
        group=case.groups,
    )

    def near(y: Array) -> bool:
        return bool(np.abs((y.astype(np.int64) - 128) * unit - sums).max() <= unit)

    return bound_variant(model, {"x": x}, near)


def one_node(
    kind: str,
    names: list[str],
    inputs: Mapping[str, Array],
    constants: Mapping[str, Array],
    output: Array,
    domain: str = "",
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of a single operator with output `y` of the shape and dtype of `output`."""

    def value(name: str, array: Array) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    graph = helper.make_graph(
        [helper.make_node(kind, names, ["y"], domain=domain, **attributes)],
        kind,
        [value(name, array) for name, array in inputs.items()],
        [value("y", output)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def convolutions(cases: Sequence[ConvCase], rates: Sequence[float], pace: Pace) -> list[dict[str, Any]]:
    """Event-driven, dense and automatic spike convolution, and with a LIF fused, over firing rates."""
    found = []
    for case in cases:
        for rate in rates:
            rng = np.random.default_rng(0)
            spikes = (rng.random((STEPS, case.into, case.size, case.size)) < rate).astype(np.int64)
            node = _random_conv(case, rng)
            variants = {
                "ORT fp32": float_convolution(case, node, spikes),
                "ORT int8": int8_convolution(case, node, spikes),
            }
            if case.groups == 1:
                lif = _lif_behind(convolve(node, spikes))
                variants |= {density: spike_convolution(case, node, spikes, density, None) for density in DENSITY}
                variants["auto, LIF fused"] = spike_convolution(case, node, spikes, "auto", lif)
            else:
                variants["packed"] = spike_convolution(case, node, spikes, "auto", None)
            label = f"{case.name}, {rate:.0%}"
            found.append(
                {"name": case.name, "macs": case.macs, "rate": rate, "samples_ms": _timed(variants, pace, label)}
            )
    return found


def _random_conv(case: ConvCase, rng: np.random.Generator) -> Conv:
    """int8 weights, requantised to int8 where the convolution is depthwise, as in the network."""
    weight = rng.integers(-127, 128, (case.out, case.into // case.groups, case.kernel, case.kernel)).astype(np.int8)
    zeros = np.zeros(case.out, np.int32)
    pads = (case.kernel // 2, case.kernel // 2)
    if case.groups == 1:
        return Conv(case.name, "x", weight, zeros, zeros, 8, padding=pads)
    return Conv(case.name, "x", weight, zeros, zeros + 4, 5, padding=pads, groups=case.groups, out="int8")


def _lif_behind(sums: Array) -> Lif:
    """A LIF that fires on some tenth of `sums`."""
    one = np.ones(sums.shape[1], np.int32)
    return Lif("lif", "y", one, 0 * one, max(int(np.quantile(sums, 0.9) / 2), 1) * one)


def lifs(sizes: Mapping[str, int], pace: Pace) -> list[dict[str, Any]]:
    """LIF and packing of int32 potentials, against this core's read bandwidth and ONNX Runtime's elementwise form."""
    found = []
    for where, size in sizes.items():
        channels = 128
        positions = size // (4 * STEPS * channels)
        one = np.ones(channels, np.int32)
        node = Lif("s", "x", one, 0 * one, 256 * one)
        x = np.random.default_rng(0).normal(0, 300, (STEPS, positions, channels)).astype(np.int32)
        logical = x.transpose(0, 2, 1)[..., None]
        spikes, _ = interpret.lif(node, logical.astype(np.int64))
        program = _around(node, (STEPS, channels, positions, 1))
        graph = cut(program, ["x"], "s")
        scaled = np.ascontiguousarray(logical).astype(np.float32) / 512  # halves of 2^-8
        variants = {
            "ORT fp32": bound_variant(graph, {"x": scaled}, partial(_mostly, spikes)),
            "packed": _lif(node, x, pack_spikes(spikes)),
        }
        bandwidth = read_bandwidth(x.nbytes)
        samples = _timed(variants, pace, f"LIF, {where}")
        bandwidth = max(bandwidth, read_bandwidth(x.nbytes))
        found.append({"name": where, "bytes": x.nbytes, "bandwidth": bandwidth, "samples_ms": samples})
    return found


def _lif(node: Lif, x: Array, expected: Array) -> Variant:
    steps, positions, channels = x.shape
    params = LifParams(frames=steps, positions=positions, channels=channels, soft_reset=0, levels=1)
    y = np.empty(expected.shape, np.int32)

    def run() -> Array:
        ours("svf_lif", ctypes.byref(params), *map(pointer, (x, node.gain, node.bias, node.theta, y)), None)
        return y

    return Variant(lambda: nullcontext(run), partial(np.array_equal, expected))


def attentions(cases: Sequence[tuple[int, int, int]], pace: Pace) -> list[dict[str, Any]]:
    """Hamming attention on words packed over channels, against float32 and int8 matrix products."""
    found = []
    for tokens, channels, heads in cases:
        side = round((tokens // STEPS) ** 0.5)
        rng = np.random.default_rng(0)
        shape = (STEPS, channels, side, side)
        q, k, v = ((rng.random(shape) < 0.2).astype(np.int64) for _ in range(3))
        node = Attention("o", "q", "k", "v", heads)
        o = interpret.attention(node, q, k, v)
        graph = cut(_around(node, shape), ["q", "k", "v"], "o")
        feeds = {name: values.astype(np.float32) for name, values in zip("qkv", (q, k, v), strict=True)}
        variants = {
            "ORT fp32": bound_variant(graph, feeds, partial(np.array_equal, o)),
            "ORT int8": bound_variant(quantised(graph, [feeds]), feeds, partial(_alike, o)),
            "packed": _attention(node, q, k, v, o),
        }
        name = f"{tokens} tokens, {channels} channels, {heads} heads"
        macs = 2 * tokens * channels * channels // heads
        found.append({"name": name, "macs": macs, "samples_ms": _timed(variants, pace, name)})
    return found


def _mostly(expected: Array, found: Array) -> bool:
    """Spikes of a LIF without roundings: a few potentials lie between a threshold and its rounding."""
    return bool((expected == found).mean() > 0.98)


def _alike(expected: Array, found: Array) -> bool:
    return bool(np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99)


def _attention(node: Attention, q: Array, k: Array, v: Array, o: Array) -> Variant:
    words = [np.ascontiguousarray(pack_spikes(values)) for values in (q, k, v)]
    channels = q.shape[1]
    y = np.empty((q.size // channels, channels), np.int32)
    params = AttentionParams(groups=1, tokens=len(y), channels=channels, heads=node.heads, kind=0, levels=1)

    def run() -> Array:
        ours("svf_attention", ctypes.byref(params), *map(pointer, (*words, y)), None)
        return y

    return Variant(lambda: nullcontext(run), partial(np.array_equal, o.transpose(0, 2, 3, 1).reshape(y.shape)))


def _around(node: Lif | Attention, shape: tuple[int, int, int, int]) -> Program:
    """A program that holds `node` on tensors of `shape`: whatever is ahead of it and behind it is cut off again."""
    channels = shape[1]
    one = np.ones(channels, np.int32)

    def conv(name: str, source: str) -> Conv:
        return Conv(name, source, np.ones((channels, 1, 1, 1), np.int8), 0 * one, 0 * one, 8, groups=channels)

    nodes: list[Node] = [conv("x", "frames")]
    if isinstance(node, Attention):
        nodes += [Lif(name, "x", one, 0 * one, one) for name in (node.query, node.key, node.value)]
        nodes += [node, Lif("s", node.name, one, 0 * one, one)]
    else:
        nodes += [node]
    return Program(Frames(shape), (*nodes, conv("y", "s")), (Output("out", "y"),))


def cut(program: Program, inputs: list[str], output: str) -> onnx.ModelProto:
    """The part of `program`'s float network between tensors."""
    return Extractor(onnx.shape_inference.infer_shapes(float_twin(program))).extract_model(inputs, [output])


def _timed(variants: Mapping[str, Variant], pace: Pace, label: str) -> dict[str, list[list[float]]]:
    check(variants)
    return take_turns(variants, pace, label)


def main(turns: Annotated[int, typer.Option(min=2, help="Turns of every variant.")] = 3) -> None:
    """Measure every kernel and write the result file."""
    amx.deny()
    before = conditions("onnxruntime")
    pace = Pace(turns, runs=50, warm_up=3, seconds=0.1)
    peaks = {name: peak(name) for name in ("dot", "fma", "add")}
    result = {
        **before,
        "convolutions": convolutions(CONVOLUTIONS, RATES, pace),
        "depthwise": convolutions(DEPTHWISE, (0.1,), pace),
        "lif": lifs({"inside L2": INSIDE, "outside L2": OUTSIDE}, pace),
        "attention": attentions(ATTENTIONS, pace),
        "peaks": {name: max(best, peak(name)) for name, best in peaks.items()},
    }
    store(RESULT, result)


if __name__ == "__main__":
    typer.run(main)
