"""Linear attention against its quadratic definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from svf_edge.model.attention import Scope, group_tokens, spike_attention, ungroup_tokens

SHAPE = (3, 2, 12, 2, 5)  # T, B, C, H, W
SCOPES = ("joint", "spatial", "temporal")


def spikes(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.rand((3, *SHAPE), generator=generator) < 0.3).float()
    return q, k, v


def same_group(scope: Scope, a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
    return {"joint": True, "spatial": a[0] == b[0], "temporal": a[1:] == b[1:]}[scope]


@pytest.mark.parametrize("scope", SCOPES)
def test_hamming_similarity(scope: Scope) -> None:
    """`O = sum over tokens of (2 d s - d) v` with the paper's `s = 1 - Hamming(q, k) / d`, head by head."""
    q, k, v = spikes(1)
    heads, d = 3, 4
    out = spike_attention(q, k, v, heads, "hamming", scope)
    tokens = [(t, h, w) for t in range(3) for h in range(2) for w in range(5)]
    for b in range(2):
        for head in range(heads):
            part = slice(head * d, (head + 1) * d)
            for t, h, w in tokens:
                expected = torch.zeros(d)
                for u, i, j in tokens:
                    if same_group(scope, (t, h, w), (u, i, j)):
                        hamming = (q[t, b, part, h, w] != k[u, b, part, i, j]).sum()
                        similarity = 1 - hamming / d
                        expected += (2 * d * similarity - d) * v[u, b, part, i, j]
                torch.testing.assert_close(out[t, b, part, h, w], expected)
    assert out.abs().max() > 0


@pytest.mark.parametrize("scope", SCOPES)
def test_dot_product(scope: Scope) -> None:
    q, k, v = spikes(2)
    grouped = [group_tokens(x, 3, scope) for x in (q, k, v)]
    quadratic = (grouped[0] @ grouped[1].transpose(-1, -2)) @ grouped[2]
    out = spike_attention(q, k, v, 3, "dot", scope)
    assert torch.equal(out, ungroup_tokens(quadratic, scope, SHAPE))
    assert out.max() > 0


@pytest.mark.parametrize("scope", SCOPES)
def test_tokens_are_in_time_row_column_order(scope: Scope) -> None:
    steps, _, _, height, width = SHAPE
    index = torch.arange(steps * height * width).reshape(steps, 1, 1, height, width).expand(SHAPE)
    grouped = group_tokens(index.float(), 3, scope)
    assert grouped.shape[1] == 3 and (grouped.diff(dim=2) > 0).all()
    assert torch.equal(ungroup_tokens(grouped, scope, SHAPE), index.float())
