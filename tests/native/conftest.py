"""One test per kernel set of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from svf_edge.export import ops


@pytest.fixture(params=ops.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Forces a kernel set for the test."""
    with ops.force_isa(request.param):
        yield request.param
