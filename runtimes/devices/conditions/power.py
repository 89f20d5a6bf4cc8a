"""Measured power: rails sampled on the device beside a run, and idle before it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from svf_edge.runtimes.devices.conditions.jetson import RAILS_SCRIPT, Rail, rail_powers, rails
from svf_edge.runtimes.devices.conditions.probe import rooted
from svf_edge.runtimes.devices.transport import Running, Transport

_SAMPLING_SECONDS = 0.1


class PowerMeter:
    """Samples the INA3221 rails of a device. Use as a context manager around the run, after `idle`."""

    def __init__(self, transport: Transport, root: str = "") -> None:
        self._transport = transport
        self._script = rooted(RAILS_SCRIPT, root)
        self._idle: Mapping[str, Sequence[float]] = {}
        self._loaded: Mapping[str, Sequence[float]] = {}
        self._running: Running | None = None
        once = self._script.replace("{then}", "exit 0")
        self.present = bool(rail_powers(transport.check(once, doing="looking for power rails")))

    def idle(self, seconds: float) -> None:
        """Sample for `seconds` while nothing of ours runs."""
        running = self._start()
        time.sleep(seconds)
        self._idle = rail_powers(running.stop())

    @property
    def rails(self) -> tuple[Rail, ...]:
        """What was measured; empty before the run."""
        return rails(self._idle, self._loaded)

    def _start(self) -> Running:
        script = self._script.replace("{then}", f"sleep {_SAMPLING_SECONDS}")
        return self._transport.start(script, doing="sampling power rails")

    def __enter__(self) -> Self:
        self._running = self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._running is not None
        if kind is None:
            self._loaded = rail_powers(self._running.stop())
        else:
            self._running.abandon()
