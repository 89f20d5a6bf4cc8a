"""Bodies of the plug-in nodes in standard ONNX operators, so that ONNX Runtime runs the very same graph.

They lay tensors out as the packed operators take them and then use the pieces of `svf_edge.export.onnx.functions`.
TensorRT never sees them: shipped files carry none.
"""

from __future__ import annotations

from functools import cache

import onnx

from svf_edge.export.onnx.functions import Real, bodies, parse_functions

_LIF = "<soft_reset: int = @soft_reset, levels: int = @levels>"
_WORDS = {
    False: f"words = ai.svf.body.Fire {_LIF} (rows, gain, bias, theta)",
    True: f"""rest = Transpose <perm = [1, 2, 0]> (before)
        words, membrane = ai.svf.body.FireFrom {_LIF} (rows, gain, bias, theta, rest)
        after = Transpose <perm = [2, 0, 1]> (membrane)""",
}
_SPIKES = """channels = Shape <start = 1, end = 2> (x)
        bits = ai.svf.body.Unpack (words, channels)
        counts = ai.svf.body.SumPlanes <axes = -4> (bits)
        moved = Transpose <perm = [0, 3, 1, 2]> (counts)
        spikes = Cast <to = 3> (moved)"""


def _lif(packed: bool, stream: bool) -> str:
    """A LIF on carriers or integers `[T, C, H, W]`: int8 spikes of that shape, or words; a `stream` has membranes."""
    name, result = ("LifWords", "words") if packed else ("LifSpikes", "spikes")
    return f"""{name}{"From" * stream} <soft_reset, levels> (x, gain, bias, theta{", before" * stream})
        => ({result}{", after" * stream}) {{
        carriers = Cast <to = REAL> (x)
        floors = Floor (carriers)
        rows = Transpose <perm = [0, 2, 3, 1]> (floors)
        {_WORDS[stream]}
        {"" if packed else _SPIKES}
    }}"""


def _attention(kind: str, step: bool) -> str:
    """Attention that sees earlier frames: those of a clip, or in a `step` those whose summaries are given as a sum."""
    signs = "ai.svf.body.ToSigns" if kind == "Hamming" else "Identity"
    splits = "\n        ".join(
        f"{x}_bits = ai.svf.body.Heads <channels: int = @channels, heads: int = @heads> ({x})" for x in "qkv"
    )
    name = f"{kind}AttentionStep" if step else f"{kind}CausalAttention"
    seen = (
        """earlier = Cast <to = 1> (summaries)
        seen = Add (single, earlier)
        shape = Shape <start = 1> (single)
        flat = Reshape (single, shape)
        summary = Cast <to = 6> (flat)"""
        if step
        else "seen = ai.svf.body.WindowSum <window: int = @window> (single)"
    )
    return f"""{name} <channels, heads{"" if step else ", window"}> (q, k, v{", summaries" * step})
        => (o{", summary" * step}) {{
        {splits}
        q_signs = {signs} (q_bits)
        k_signs = {signs} (k_bits)
        keys = Transpose <perm = [0, 1, 3, 2]> (k_signs)
        single = MatMul (keys, v_bits)
        {seen}
        o = ai.svf.body.LookUp (q_signs, seen)
    }}"""


_FLAGS = (False, True)
_PLUGINS = [
    *(_lif(packed, stream) for packed in _FLAGS for stream in _FLAGS),
    *(_attention(kind, step) for kind in ("Hamming", "Dot") for step in _FLAGS),
]


@cache
def plugin_bodies(real: Real) -> tuple[onnx.FunctionProto, ...]:
    """FunctionProtos of every plug-in node, and of what they share with the packed dialect; `real` as in `bodies`."""
    return (*bodies(real), *parse_functions(_PLUGINS, real))
