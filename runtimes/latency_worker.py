"""The process that measures one runtime variant.

`python -m svf_edge.runtimes.latency_worker BUNDLE RUNTIME CLIP THREADS WARM_UP` writes one JSON line when the
graph is loaded, and one for every request `{"runs": n, "seconds": s}` on standard input.
"""

from __future__ import annotations

import json
import sys
import time

from svf_edge.runtimes.base import Clip, Result, Session
from svf_edge.runtimes.machine import frequency_mhz, peak_memory, resident_memory
from svf_edge.runtimes.process import replies


class Loaded(Result):
    """Cold start. Memory in bytes; `memory_before_load` has the runtime imported and the graph not yet loaded."""

    import_ms: float
    load_ms: float
    first_run_ms: float
    outputs_exact: bool | None
    file_bytes: int
    memory_before_load: int
    versions: dict[str, str]


class Round(Result):
    """One round of runs."""

    milliseconds: tuple[float, ...]
    clock_mhz: float | None
    peak_memory: int


def main(arguments: list[str]) -> None:
    """Serve requests until standard input ends."""
    folder, name, clip, threads, warm_up = arguments
    with replies() as reply:
        session, frames, loaded = load(folder, name, clip, int(threads))
        reply(loaded)
        for line in sys.stdin:
            request = json.loads(line)
            reply(measure(session, frames, request["runs"], request["seconds"], int(warm_up)))


def load(folder: str, name: str, clip: str, threads: int) -> tuple[Session, Clip, Loaded]:
    """Open a bundle with a runtime and run it once, timing each step."""
    from svf_edge.export.bundle import Bundle
    from svf_edge.runtimes.clips import GENERATORS
    from svf_edge.runtimes.registry import find_runtime

    bundle = Bundle.open(folder)
    golden = None
    if any(entry.name == clip for entry in bundle.manifest.golden):
        frames, golden = bundle.golden(clip)
    else:
        frames = GENERATORS[clip](bundle.program().frames.shape)
    runtime = find_runtime(name)
    start = time.perf_counter()
    runtime.prepare()
    imported = time.perf_counter()
    memory = resident_memory()
    loading = time.perf_counter()
    session = runtime.open(bundle, threads=threads)
    running = time.perf_counter()
    outputs = session.run(frames).outputs
    finished = time.perf_counter()
    exact = None
    if golden is not None:
        exact = all((outputs[key] == values).all() for key, values in golden.items())
    return (
        session,
        frames,
        Loaded(
            import_ms=1e3 * (imported - start),
            load_ms=1e3 * (running - loading),
            first_run_ms=1e3 * (finished - running),
            outputs_exact=exact,
            file_bytes=runtime.graph(bundle).stat().st_size,
            memory_before_load=memory,
            versions=runtime.conditions(bundle),
        ),
    )


def measure(session: Session, frames: Clip, runs: int, seconds: float, warm_up: int) -> Round:
    """Up to `runs` runs, at least one, as many as fit into `seconds`, after `warm_up` runs that are not counted.

    The warm-up is per round, because another variant had the caches since the last one.
    """
    for _ in range(warm_up):
        session.run(frames)
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while len(samples) < runs:
        start = time.perf_counter()
        session.run(frames)
        stop = time.perf_counter()
        samples.append(1e3 * (stop - start))
        if stop > end:
            break
    return Round(milliseconds=tuple(samples), clock_mhz=frequency_mhz(), peak_memory=peak_memory())


if __name__ == "__main__":
    main(sys.argv[1:])
