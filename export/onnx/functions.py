"""Bodies of the packed operators in standard ONNX operators.

A node of domain `ai.svf` runs our kernel where our library is registered; elsewhere the runtime inlines the body given
here. Bodies carry integers in float32, so they are exact under the float32 range proof, which the exporter asks for.
Where that proof needs float64 for products of attention and for LIFs (`prove_floats`), REAL stands for it.

They are written in ONNX's textual syntax. `ai.svf.body` holds the pieces that several bodies share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, get_args

import onnx
from onnx import parser

from svf_edge.export.onnx.writer import OPSET
from svf_edge.packing import WORD_BITS

DOMAIN = "ai.svf"
BODY_DOMAIN = "ai.svf.body"

_BITS = ", ".join(map(str, range(WORD_BITS)))
_PLACES = ", ".join(str(1 << bit if bit < WORD_BITS - 1 else -(1 << bit)) for bit in range(WORD_BITS))

_SHARED = [
    # [..., W] words to [..., channels] floats of 0 and 1.
    f"""Unpack (words, channels) => (bits) {{
        unsigned = Cast <to = 12> (words)
        last = Constant <value_ints = [-1]> ()
        column = Unsqueeze (unsigned, last)
        places = Constant <value = uint32[{WORD_BITS}] {{{_BITS}}}> ()
        moved = BitShift <direction = "RIGHT"> (column, places)
        one = Constant <value = uint32 {{1}}> ()
        single = BitwiseAnd (moved, one)
        floats = Cast <to = 1> (single)
        lead = Shape <end = -1> (words)
        shape = Concat <axis = 0> (lead, last)
        flat = Reshape (floats, shape)
        start = Constant <value_ints = [0]> ()
        bits = Slice (flat, start, channels, last)
    }}""",
    # [..., C] floats of 0 and 1 to [..., ceil(C / 32)] words.
    f"""Pack (bits) => (words) {{
        size = Shape <start = -1> (bits)
        width = Constant <value_ints = [{WORD_BITS}]> ()
        over = Mod (size, width)
        missing = Sub (width, over)
        padding = Mod (missing, width)
        zero = Constant <value_ints = [0]> ()
        pads = Concat <axis = 0> (zero, padding)
        nothing = Constant <value_float = 0.0> ()
        last = Constant <value_ints = [-1]> ()
        padded = Pad (bits, pads, nothing, last)
        lead = Shape <end = -1> (bits)
        shape = Concat <axis = 0> (lead, last, width)
        split = Reshape (padded, shape)
        integers = Cast <to = 6> (split)
        places = Constant <value = int32[{WORD_BITS}] {{{_PLACES}}}> ()
        placed = Mul (integers, places)
        words = ReduceSum <keepdims = 0> (placed, last)
    }}""",
    # [planes, axes of a plane] or [axes of a plane] to the sum over planes; `axes` is minus the number of the latter.
    """SumPlanes <axes> (bits) => (spikes) {
        plane = Shape <start: int = @axes> (bits)
        rest = Constant <value_ints = [-1]> ()
        shape = Concat <axis = 0> (rest, plane)
        planes = Reshape (bits, shape)
        first = Constant <value_ints = [0]> ()
        spikes = ReduceSum <keepdims = 0> (planes, first)
    }""",
    # Packed weights (docs/contract.md, "Packing") to int8 of `shape`. All inputs are constants, so a runtime folds this
    # when it loads the file.
    """UnpackWeights <places, mask, high> (packed, shape) => (weight) {
        unsigned = Cast <to = 12> (packed)
        last = Constant <value_ints = [-1]> ()
        column = Unsqueeze (unsigned, last)
        wide_places = Constant <value_ints: ints = @places> ()
        moves = Cast <to = 12> (wide_places)
        moved = BitShift <direction = "RIGHT"> (column, moves)
        integers = Cast <to = 6> (moved)
        wide_mask = Constant <value_int: int = @mask> ()
        field_mask = Cast <to = 6> (wide_mask)
        wide_high = Constant <value_int: int = @high> ()
        half = Cast <to = 6> (wide_high)
        raised = Add (integers, half)
        kept = BitwiseAnd (raised, field_mask)
        signed = Sub (kept, half)
        flat = Reshape (signed, last)
        count = ReduceProd <keepdims = 1> (shape)
        start = Constant <value_ints = [0]> ()
        used = Slice (flat, start, count)
        shaped = Reshape (used, shape)
        weight = Cast <to = 3> (shaped)
    }""",
    # Convolution of [T, H, W, Cin] floats with HWIO int8 weights, bias and shift; [T, Ho, Wo, Cout] floats.
    """Convolve <stride, padding, groups> (x, weight, bias, shift) => (y) {
        nchw = Transpose <perm = [0, 3, 1, 2]> (x)
        sides = Constant <value_ints: ints = @padding> ()
        none = Constant <value_ints = [0, 0]> ()
        pads = Concat <axis = 0> (none, sides, none, sides)
        padded = Pad (nchw, pads)
        floats = Cast <to = 1> (weight)
        kernel = Transpose <perm = [3, 2, 0, 1]> (floats)
        sums = Conv <strides: ints = @stride, group: int = @groups> (padded, kernel)
        rows = Transpose <perm = [0, 2, 3, 1]> (sums)
        zero = Constant <value = int32 {0}> ()
        low = Min (shift, zero)
        up = Neg (low)
        down = Max (shift, zero)
        one = Constant <value = uint32 {1}> ()
        up_places = Cast <to = 12> (up)
        down_places = Cast <to = 12> (down)
        up_power = BitShift <direction = "LEFT"> (one, up_places)
        down_power = BitShift <direction = "LEFT"> (one, down_places)
        factor = Cast <to = 1> (up_power)
        divisor = Cast <to = 1> (down_power)
        offset = Cast <to = 1> (bias)
        scaled = Mul (rows, factor)
        shifted = Add (scaled, offset)
        quotient = Div (shifted, divisor)
        y = Floor (quotient)
    }""",
    """SpikeConvolve <stride, padding, groups> (x, weight, bias, shift) => (y) {
        per_group = Shape <start = 2, end = 3> (weight)
        count = Constant <value_int: int = @groups> ()
        channels = Mul (per_group, count)
        bits = ai.svf.body.Unpack (x, channels)
        spikes = ai.svf.body.SumPlanes <axes = -4> (bits)
        y = ai.svf.body.Convolve <stride: ints = @stride, padding: ints = @padding, groups: int = @groups>
            (spikes, weight, bias, shift)
    }""",
    """IntConvolve <stride, padding, groups, zero_point> (x, weight, bias, shift) => (y) {
        floats = Cast <to = 1> (x)
        zero = Constant <value_int: int = @zero_point> ()
        offset = Cast <to = 1> (zero)
        centred = Sub (floats, offset)
        y = ai.svf.body.Convolve <stride: ints = @stride, padding: ints = @padding, groups: int = @groups>
            (centred, weight, bias, shift)
    }""",
    """Saturate (x) => (y) {
        low = Constant <value_float = -127.0> ()
        high = Constant <value_float = 127.0> ()
        inside = Clip (x, low, high)
        y = Cast <to = 3> (inside)
    }""",
    # Words [G, N, W], or [planes, G, N, W], to heads [G, heads, N, d].
    """Heads <channels, heads> (words) => (split) {
        wanted = Constant <value_int: int = @channels> ()
        last = Constant <value_ints = [-1]> ()
        size = Reshape (wanted, last)
        bits = ai.svf.body.Unpack (words, size)
        spikes = ai.svf.body.SumPlanes <axes = -3> (bits)
        count = Constant <value_int: int = @heads> ()
        middle = Reshape (count, last)
        keep = Constant <value_ints = [0, 0]> ()
        shape = Concat <axis = 0> (keep, middle, last)
        rows = Reshape (spikes, shape)
        split = Transpose <perm = [0, 2, 1, 3]> (rows)
    }""",
    # Q M on heads [G, heads, N, d] and summaries [G, heads, d, d]; int32 [G, N, C].
    """LookUp (q, summary) => (o) {
        queries = Cast <to = REAL> (q)
        seen = Cast <to = REAL> (summary)
        heads = MatMul (queries, seen)
        rows = Transpose <perm = [0, 2, 1, 3]> (heads)
        shape = Constant <value_ints = [0, 0, -1]> ()
        flat = Reshape (rows, shape)
        o = Cast <to = 6> (flat)
    }""",
    # The same with M = K^T V.
    """TokenProduct (q, k, v) => (o) {
        keys = Transpose <perm = [0, 1, 3, 2]> (k)
        summary = MatMul (keys, v)
        o = ai.svf.body.LookUp (q, summary)
    }""",
    """ToSigns (x) => (y) {
        two = Constant <value_float = 2.0> ()
        one = Constant <value_float = 1.0> ()
        doubled = Mul (x, two)
        y = Sub (doubled, one)
    }""",
    # What a LIF adds to its membrane in every step.
    """Drive (x, gain, bias) => (drive) {
        floats = Cast <to = REAL> (x)
        factor = Cast <to = REAL> (gain)
        offset = Cast <to = REAL> (bias)
        scaled = Mul (floats, factor)
        drive = Add (scaled, offset)
    }""",
    # LIF of any number of levels from membranes [H, W, C]; words [levels, T, H, W, ceil(C / 32)], membranes after.
    """FirePlanesFrom <soft_reset, levels> (x, gain, bias, theta, before) => (words, after) {
        drive = ai.svf.body.Drive (x, gain, bias)
        threshold = Cast <to = REAL> (theta)
        soft_flag = Constant <value_int: int = @soft_reset> ()
        soft = Cast <to = 9> (soft_flag)
        first = Constant <value_int = 1> ()
        last = Constant <value_int: int = @levels> ()
        end = Add (last, first)
        counts = Range (first, end, first)
        column = Constant <value_ints = [-1, 1, 1, 1]> ()
        tall = Reshape (counts, column)
        multiples = Cast <to = REAL> (tall)
        thresholds = Mul (multiples, threshold)
        rest = Cast <to = REAL> (before)
        final, steps = Scan <num_scan_inputs = 1, body = step (REAL[H, W, C] membrane, REAL[H, W, C] input)
            => (REAL[H, W, C] next, float[L, H, W, C] reached) {
                sum = Add (membrane, input)
                half = Constant <value = REAL {0.5}> ()
                halved = Mul (sum, half)
                potential = Floor (halved)
                above = GreaterOrEqual (potential, thresholds)
                reached = Cast <to = 1> (above)
                plane_axis = Constant <value_ints = [0]> ()
                spikes = ReduceSum <keepdims = 0> (reached, plane_axis)
                counted = Cast <to = REAL> (spikes)
                cost = Mul (counted, threshold)
                lowered = Sub (potential, cost)
                fired = GreaterOrEqual (potential, threshold)
                zero = Constant <value = REAL {0.0}> ()
                cleared = Where (fired, zero, potential)
                next = Where (soft, lowered, cleared)
            }> (rest, drive)
        planes = Transpose <perm = [1, 0, 2, 3, 4]> (steps)
        words = ai.svf.body.Pack (planes)
        after = Cast <to = 6> (final)
    }""",
    # The same from membranes of 0.
    """FirePlanes <soft_reset, levels> (x, gain, bias, theta) => (words) {
        frame = Shape <start = 1> (x)
        rest = ConstantOfShape <value = int32[1] {0}> (frame)
        words, after = ai.svf.body.FirePlanesFrom <soft_reset: int = @soft_reset, levels: int = @levels>
            (x, gain, bias, theta, rest)
    }""",
    # Words [levels, T, H, W, ...] without the axis of planes where there is one.
    """OnePlane <levels> (planes) => (words) {
        most = Constant <value_int: int = @levels> ()
        one = Constant <value_int = 1> ()
        single = Equal (most, one)
        skipped = Cast <to = 7> (single)
        last = Constant <value_ints = [-1]> ()
        start = Reshape (skipped, last)
        end = Constant <value_ints = [5]> ()
        sizes = Shape (planes)
        shape = Slice (sizes, start, end)
        words = Reshape (planes, shape)
    }""",
    """Fire <soft_reset, levels> (x, gain, bias, theta) => (words) {
        planes = ai.svf.body.FirePlanes <soft_reset: int = @soft_reset, levels: int = @levels> (x, gain, bias, theta)
        words = ai.svf.body.OnePlane <levels: int = @levels> (planes)
    }""",
    """FireFrom <soft_reset, levels> (x, gain, bias, theta, before) => (words, after) {
        planes, after = ai.svf.body.FirePlanesFrom <soft_reset: int = @soft_reset, levels: int = @levels>
            (x, gain, bias, theta, before)
        words = ai.svf.body.OnePlane <levels: int = @levels> (planes)
    }""",
    # Words [T, H, W, ...], or with planes in front, to the heads [G, heads, N, d] of one group of tokens, or of T.
    """FrameHeads <channels, heads, joint> (words) => (split) {
        wanted = Constant <value_int: int = @channels> ()
        last = Constant <value_ints = [-1]> ()
        size = Reshape (wanted, last)
        bits = ai.svf.body.Unpack (words, size)
        spikes = ai.svf.body.SumPlanes <axes = -4> (bits)
        steps = Shape <start = 0, end = 1> (spikes)
        one = Constant <value_ints = [1]> ()
        flag = Constant <value_int: int = @joint> ()
        together = Cast <to = 9> (flag)
        groups = Where (together, one, steps)
        count = Constant <value_int: int = @heads> ()
        middle = Reshape (count, last)
        width = Div (size, middle)
        shape = Concat <axis = 0> (groups, last, middle, width)
        rows = Reshape (spikes, shape)
        split = Transpose <perm = [0, 2, 1, 3]> (rows)
    }""",
    # The sums of the last `window` of summaries [T, heads, d, d], by a product with a band of ones.
    """WindowSum <window> (summaries) => (sums) {
        sizes = Shape (summaries)
        steps = Shape <end = 1> (summaries)
        count = Squeeze (steps)
        zero = Constant <value_int = 0> ()
        one = Constant <value_int = 1> ()
        times = Range (zero, count, one)
        last = Constant <value_ints = [-1]> ()
        column = Unsqueeze (times, last)
        ago = Sub (column, times)
        past = GreaterOrEqual (ago, zero)
        length = Constant <value_int: int = @window> ()
        near = Less (ago, length)
        both = And (past, near)
        band = Cast <to = 1> (both)
        rest = Constant <value_ints = [0, -1]> ()
        flat = Reshape (summaries, rest)
        added = MatMul (band, flat)
        sums = Reshape (added, sizes)
    }""",
    # [G, N, C] back to the [T, H, W, C] of `words`.
    """ToFrames (tokens, words) => (frames) {
        lead = Shape <start = -4, end = -1> (words)
        last = Constant <value_ints = [-1]> ()
        shape = Concat <axis = 0> (lead, last)
        frames = Reshape (tokens, shape)
    }""",
]

_OPERATORS = [
    """ChannelsLast (x) => (y) {
        y = Transpose <perm = [0, 2, 3, 1]> (x)
    }""",
    """SpikeConv2d <stride, padding, groups> (x, weight, bias, shift) => (y) {
        sums = ai.svf.body.SpikeConvolve <stride: ints = @stride, padding: ints = @padding, groups: int = @groups>
            (x, weight, bias, shift)
        y = Cast <to = 6> (sums)
    }""",
    """SpikeConv2dS8 <stride, padding, groups> (x, weight, bias, shift) => (y) {
        sums = ai.svf.body.SpikeConvolve <stride: ints = @stride, padding: ints = @padding, groups: int = @groups>
            (x, weight, bias, shift)
        y = ai.svf.body.Saturate (sums)
    }""",
    """IntConv2d <stride, padding, groups, zero_point> (x, weight, bias, shift) => (y) {
        sums = ai.svf.body.IntConvolve <stride: ints = @stride, padding: ints = @padding, groups: int = @groups,
            zero_point: int = @zero_point> (x, weight, bias, shift)
        y = Cast <to = 6> (sums)
    }""",
    """IntConv2dS8 <stride, padding, groups, zero_point> (x, weight, bias, shift) => (y) {
        sums = ai.svf.body.IntConvolve <stride: ints = @stride, padding: ints = @padding, groups: int = @groups,
            zero_point: int = @zero_point> (x, weight, bias, shift)
        y = ai.svf.body.Saturate (sums)
    }""",
    """Lif <soft_reset> (x, gain, bias, theta) => (words) {
        drive = ai.svf.body.Drive (x, gain, bias)
        threshold = Cast <to = REAL> (theta)
        soft_flag = Constant <value_int: int = @soft_reset> ()
        soft = Cast <to = 9> (soft_flag)
        frame = Shape <start = 1> (drive)
        rest = ConstantOfShape <value = REAL[1] {0.0}> (frame)
        final, spikes = Scan <num_scan_inputs = 1, body = step (REAL[H, W, C] membrane, REAL[H, W, C] input)
            => (REAL[H, W, C] next, float[H, W, C] spike) {
                sum = Add (membrane, input)
                half = Constant <value = REAL {0.5}> ()
                halved = Mul (sum, half)
                potential = Floor (halved)
                fired = GreaterOrEqual (potential, threshold)
                spike = Cast <to = 1> (fired)
                counted = Cast <to = REAL> (spike)
                cost = Mul (counted, threshold)
                lowered = Sub (potential, cost)
                zero = Constant <value = REAL {0.0}> ()
                cleared = Where (fired, zero, potential)
                next = Where (soft, lowered, cleared)
            }> (rest, drive)
        words = ai.svf.body.Pack (spikes)
    }""",
    """IntegerLif <soft_reset, levels> (x, gain, bias, theta) => (words) {
        words = ai.svf.body.FirePlanes <soft_reset: int = @soft_reset, levels: int = @levels> (x, gain, bias, theta)
    }""",
    """LifFrom <soft_reset, levels> (x, gain, bias, theta, before) => (words, after) {
        words, after = ai.svf.body.FireFrom <soft_reset: int = @soft_reset, levels: int = @levels>
            (x, gain, bias, theta, before)
    }""",
    """HammingAttention <channels, heads> (q, k, v) => (o) {
        q_bits = ai.svf.body.Heads <channels: int = @channels, heads: int = @heads> (q)
        k_bits = ai.svf.body.Heads <channels: int = @channels, heads: int = @heads> (k)
        v_bits = ai.svf.body.Heads <channels: int = @channels, heads: int = @heads> (v)
        q_signs = ai.svf.body.ToSigns (q_bits)
        k_signs = ai.svf.body.ToSigns (k_bits)
        o = ai.svf.body.TokenProduct (q_signs, k_signs, v_bits)
    }""",
    """DotAttention <channels, heads> (q, k, v) => (o) {
        q_bits = ai.svf.body.Heads <channels: int = @channels, heads: int = @heads> (q)
        k_bits = ai.svf.body.Heads <channels: int = @channels, heads: int = @heads> (k)
        v_bits = ai.svf.body.Heads <channels: int = @channels, heads: int = @heads> (v)
        o = ai.svf.body.TokenProduct (q_bits, k_bits, v_bits)
    }""",
]


_Form = Literal["clip", "causal", "step"]


def _conv_lif(packed: bool, adds: bool, stream: bool) -> str:
    """A convolution, a residual addition if it `adds`, and a LIF; in a `stream` with membranes before and after."""
    name, kind, own = ("SpikeConv2d", "Spike", "density") if packed else ("IntConv2d", "Int", "zero_point")
    suffix = "AddLif" * adds or "Lif"
    residual, before, after = ", residual" * adds, ", before" * stream, ", after" * stream
    zero_point = "" if packed else ", zero_point: int = @zero_point"
    total = "sum = Add (integers, residual)" if adds else "sum = Identity (integers)"
    return f"""{name}{suffix}{"From" * stream} <stride, padding, groups, soft_reset, levels, {own}>
        (x, weight, bias, shift, gain, lif_bias, theta{residual}{before}) => (spikes, sum{after}) {{
        sums = ai.svf.body.{kind}Convolve <stride: ints = @stride, padding: ints = @padding, groups: int = @groups
            {zero_point}> (x, weight, bias, shift)
        integers = Cast <to = 6> (sums)
        {total}
        spikes{after} = ai.svf.body.Fire{"From" * stream} <soft_reset: int = @soft_reset, levels: int = @levels>
            (sum, gain, lif_bias, theta{before})
    }}"""


def _attention_lif(kind: str, form: _Form) -> str:
    """Attention and a LIF: within groups of a clip, causal in a clip, or one frame of a stream."""
    signs = "ai.svf.body.ToSigns" if kind == "Hamming" else "Identity"
    own = {"clip": ", joint", "causal": ", window", "step": ""}[form]
    joint = "joint: int = @joint" if form == "clip" else "joint: int = 0"
    stream = form == "step"
    seen = {
        "clip": "seen = Identity (summary)",
        "causal": "seen = ai.svf.body.WindowSum <window: int = @window> (summary)",
        "step": """before_this = Cast <to = 1> (summaries)
        seen = Add (summary, before_this)
        shape = Shape <start = 1> (summary)
        single = Reshape (summary, shape)
        given = Cast <to = 6> (single)""",
    }[form]
    splits = "\n        ".join(
        f"{x}_bits = ai.svf.body.FrameHeads <channels: int = @channels, heads: int = @heads, {joint}> ({x})"
        for x in "qkv"
    )
    name = {"clip": f"{kind}AttentionLif", "causal": f"{kind}CausalAttentionLif", "step": f"{kind}AttentionLifStep"}
    return f"""{name[form]} <channels, heads{own}, soft_reset, levels>
        (q, k, v, gain, lif_bias, theta{", summaries, before" * stream}) => (spikes{", given, after" * stream}) {{
        {splits}
        q_signs = {signs} (q_bits)
        k_signs = {signs} (k_bits)
        keys = Transpose <perm = [0, 1, 3, 2]> (k_signs)
        summary = MatMul (keys, v_bits)
        {seen}
        o = ai.svf.body.LookUp (q_signs, seen)
        frames = ai.svf.body.ToFrames (o, q)
        spikes{", after" * stream} = ai.svf.body.Fire{"From" * stream} <soft_reset: int = @soft_reset,
            levels: int = @levels> (frames, gain, lif_bias, theta{", before" * stream})
    }}"""


_FLAGS = (False, True)
_FUSED = [
    *(_conv_lif(packed, adds, stream) for packed in _FLAGS for adds in _FLAGS for stream in _FLAGS),
    *(_attention_lif(kind, form) for kind in ("Hamming", "Dot") for form in get_args(_Form)),
]


Real = Literal["float32", "float64"]
_REALS: Mapping[Real, tuple[str, int]] = {
    "float32": ("float", onnx.TensorProto.FLOAT),
    "float64": ("double", onnx.TensorProto.DOUBLE),
}


@cache
def bodies(real: Real = "float32") -> tuple[onnx.FunctionProto, ...]:
    """FunctionProtos of every packed operator and of the pieces they share.

    With `real` "float64" they hold what `prove_floats` asks of wide layers.
    """
    return (*parse_functions(_SHARED, real, BODY_DOMAIN), *parse_functions([*_OPERATORS, *_FUSED], real))


def parse_functions(texts: Sequence[str], real: Real, domain: str = DOMAIN) -> tuple[onnx.FunctionProto, ...]:
    """FunctionProtos of `domain` from ONNX's textual syntax, with `real` for REAL; they may use the shared pieces."""
    name, code = _REALS[real]

    def written(text: str) -> str:
        return text.replace("<to = REAL>", f"<to = {code}>").replace("REAL", name)

    return tuple(
        parser.parse_function(f'<domain: "{domain}", opset_import: ["": {OPSET}, "{BODY_DOMAIN}": 1]>\n{written(text)}')
        for text in texts
    )
