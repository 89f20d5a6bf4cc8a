"""The packed operators in PyTorch: importing this package registers the namespace `svf` (docs/contract.md,
"Operators").

Operators, channels-last, with a CPU kernel (the native core), a shape function for `torch.export`, and `.out`
overloads for ExecuTorch:

    torch.ops.svf.spike_conv2d(x, weight, bias, shift, stride, padding, groups) -> int32 [T, Ho, Wo, Cout]
    torch.ops.svf.spike_conv2d_s8(...)                                          -> int8, saturated to -127..127
    torch.ops.svf.conv2d(x, weight, bias, shift, stride, padding, groups, zero_point) -> int32
    torch.ops.svf.conv2d_s8(...)                                                -> int8
    torch.ops.svf.lif(x, gain, bias, theta, soft_reset)                         -> int32 words [T, H, W, words]
    torch.ops.svf.integer_lif(x, gain, bias, theta, soft_reset, levels)    -> int32 words [levels, T, H, W, words]
    torch.ops.svf.hamming_attention(q, k, v, channels, heads)                   -> int32 [G, N, C]
    torch.ops.svf.dot_attention(q, k, v, channels, heads)                       -> int32 [G, N, C]
    torch.ops.svf.spike_conv2d_lif(..., residual, gain, lif_bias, theta, soft_reset, levels, keep_sum, density)
        -> (words of spikes, the int32 sum that the LIF reads, which is empty unless it is to be kept)
    torch.ops.svf.conv2d_lif(..., residual, gain, lif_bias, theta, soft_reset, levels, keep_sum) -> the same
    torch.ops.svf.hamming_attention_lif(q, k, v, channels, heads, joint, gain, lif_bias, theta, soft_reset, levels)
        -> words of spikes, from words [T, H, W, words]
    torch.ops.svf.dot_attention_lif(...)                                        -> the same
    torch.ops.svf.hamming_causal_attention_lif(q, k, v, channels, heads, window, gain, ...) -> words of spikes
    torch.ops.svf.lif_from(x, gain, bias, theta, soft_reset, levels, before) -> (words of spikes, after)
    torch.ops.svf.spike_conv2d_lif_from(..., before), conv2d_lif_from(..., before) -> (words of spikes, sum, after)
    torch.ops.svf.hamming_attention_lif_step(q, k, v, channels, heads, gain, ..., levels, summaries, before)
        -> (words of spikes, summary, after); these four are for streams (docs/contract.md, "Streams")
    torch.ops.svf.channels_last(x)                                  -> uint8 [T, H, W, C] from uint8 [T, C, H, W]
    torch.ops.svf.unpack_weights(packed, bits, shape)                           -> int8 of `shape`

`weight` is int8 `[kh, kw, Cin / groups, Cout]`, `bias` and `shift` int32 `[Cout]`, `stride` and `padding` pairs of
ints (height, width), words int32; words that are read may have 2 to 15 thermometer planes on an axis in front. A wrong
shape or dtype raises `ValueError` that says what was wrong.

Control of the native core: `available_isas()`, `current_isa()`, `force_isa(name)` (a context manager);
`find_library("svf_core" | "svf_ort" | "svf_executorch")` gives a library's path or raises `MissingLibrary`.
"""

from __future__ import annotations

from svf_edge.export.libraries import find_library
from svf_edge.export.ops import registration as _registration
from svf_edge.export.ops.library import available_isas, current_isa, force_isa

OPERATORS = _registration.OPERATORS
RESULTS = _registration.RESULTS

__all__ = ["OPERATORS", "RESULTS", "available_isas", "current_isa", "find_library", "force_isa"]
