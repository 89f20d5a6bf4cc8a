"""Parity: the same spikes and the same output integers on every runtime.

Equality, not tolerance. A difference has an address: the first layer in running order whose spikes differ, and there
the first time step, channel and position, with the membrane potential the reference had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import SvfError
from svf_edge.packing import Words, digest, pack_last, pack_spikes, unpack_last
from svf_edge.program import Lif, Program, Trace
from svf_edge.program import run as interpret
from svf_edge.runtimes.base import Clip, Progress, Result, RunResult, Runtime, fingerprint, no_progress
from svf_edge.runtimes.registry import find_runtimes

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle

Verdict = Literal["equal", "differs", "vacuous", "yardstick", "failed", "not run"]


class Address(Result):
    """The first differing spike, and what the reference's neuron was doing there."""

    layer: str
    t: int
    channel: int
    y: int
    x: int
    expected: int
    found: int
    potential: int
    theta: int

    @property
    def margin(self) -> int:
        """Membrane potential minus threshold: 0 or more means that the reference fired."""
        return self.potential - self.theta

    def __str__(self) -> str:
        return (
            f"layer '{self.layer}', t={self.t}, channel={self.channel}, y={self.y}, x={self.x}: expected "
            f"{self.expected}, found {self.found} (reference: H={self.potential}, theta={self.theta}, margin "
            f"{self.margin:+d})"
        )


class LayerParity(Result):
    """One layer's spikes: how many there can be, how many the reference fired, compared, and differing.

    `stray` counts words with a padding bit set, which the packing contract forbids.
    """

    layer: str
    size: int
    fired: int
    compared: int
    differing: int
    stray: int = 0

    @property
    def lifeless(self) -> bool:
        """Silent or saturated: all spikes are 0 or all are 1, so that equality is no proof."""
        return self.fired in (0, self.size)


class OutputParity(Result):
    """One output: values compared and differing, and the first differing index `(t, c, y, x)` with both values."""

    name: str
    compared: int
    differing: int
    index: tuple[int, ...] | None = None
    expected: int | None = None
    found: int | None = None

    def __str__(self) -> str:
        if self.index is None:
            return f"output '{self.name}' is exact"
        return (
            f"output '{self.name}' differs in {self.differing} of {self.compared} values, first at {list(self.index)}: "
            f"expected {self.expected}, found {self.found}"
        )


class ClipParity(Result):
    """One runtime on one clip. Without outputs for the reference on a clip that is not golden: nothing was compared."""

    clip: str
    layers: tuple[LayerParity, ...]
    outputs: tuple[OutputParity, ...]
    first: Address | None = None

    def __bool__(self) -> bool:
        return self.checked and not self.vacuous and self.equal

    @property
    def checked(self) -> bool:
        """Something was compared."""
        return bool(self.outputs)

    @property
    def vacuous(self) -> bool:
        """The reference was silent or saturated throughout, so equality is no proof."""
        fired, size = sum(layer.fired for layer in self.layers), sum(layer.size for layer in self.layers)
        return fired in (0, size)

    @property
    def equal(self) -> bool:
        """No spike, padding bit or output value differs."""
        return not any(layer.differing or layer.stray for layer in self.layers) and not any(
            output.differing for output in self.outputs
        )


class RuntimeParity(Result):
    """One runtime on all clips. `failure` or `reason` says why it failed or was not run.

    `lifeless` are the layers that the reference left silent or saturated on every clip.
    """

    runtime: str
    clips: tuple[ClipParity, ...] = ()
    lifeless: tuple[str, ...] = ()
    failure: str | None = None
    reason: str | None = None

    def __bool__(self) -> bool:
        return self.verdict == "equal"

    @property
    def verdict(self) -> Verdict:
        """A vacuous clip is no evidence: it neither makes a pass nor spoils one that rests on other clips.

        Nor is a network most of whose layers are lifeless. The reference is the yardstick, unless it was itself held
        against golden vectors.
        """
        if self.failure is not None:
            return "failed"
        if self.reason is not None:
            return "not run"
        if not all(clip.equal for clip in self.clips):
            return "differs"
        if self.clips and not any(clip.checked for clip in self.clips):
            return "yardstick"
        alive = any(self.clips) and 2 * len(self.lifeless) <= len(self.clips[0].layers)
        return "equal" if alive else "vacuous"

    @property
    def compared(self) -> int:
        """Spikes compared on clips that count as evidence."""
        return sum(layer.compared for clip in self.clips if not clip.vacuous for layer in clip.layers)

    @property
    def differing(self) -> int:
        """Spikes that differ, on all clips."""
        return sum(layer.differing for clip in self.clips for layer in clip.layers)

    @property
    def outputs_exact(self) -> bool:
        """Every output value of every clip is equal."""
        return not any(output.differing for clip in self.clips for output in clip.outputs)

    @property
    def first(self) -> Address | None:
        """Where the first clip that differs in its spikes does so."""
        return next((clip.first for clip in self.clips if clip.first is not None), None)

    def __str__(self) -> str:
        if self.failure or self.reason:
            return f"{self.runtime}: {self.verdict}: {self.failure or self.reason}"
        if self.verdict == "yardstick":
            return f"{self.runtime}: yardstick: no clip is golden, so it was compared with nothing"
        lines = [
            f"{self.runtime}: {self.verdict}, {self.differing} of {self.compared} spikes differ, outputs "
            f"{'exact' if self.outputs_exact else 'differ'}"
        ]
        for clip in self.clips:
            if clip.first is not None:
                lines.append(f"  {clip.clip}: first at {clip.first}")
            lines += [f"  {clip.clip}: {output}" for output in clip.outputs if output.differing]
            lines += [f"  {clip.clip}: layer '{layer.layer}' sets padding bits" for layer in clip.layers if layer.stray]
        return "\n".join(lines)


class ParityReport(Result):
    """All runtimes on all clips. True when all that was compared is equal, and something was.

    `required` are the runtimes asked for by name: they must have run. The reference's own golden vectors are enough
    only when it was asked for.
    """

    bundle: str
    fingerprint: str
    clips: tuple[str, ...]
    runtimes: tuple[RuntimeParity, ...]
    required: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        ran = [entry for entry in self.runtimes if entry.verdict not in ("not run", "yardstick")]
        absent = [entry for entry in self.runtimes if entry.verdict == "not run" and entry.runtime in self.required]
        compared = any(entry.runtime != "reference" or entry.runtime in self.required for entry in ran)
        return compared and all(ran) and not absent

    @property
    def activity(self) -> str | None:
        """How many layers proved nothing, and which; the reference's activity is judged, so it holds for all."""
        entry = next((entry for entry in self.runtimes if entry.clips), None)
        if entry is None:
            return None
        names = f": {', '.join(entry.lifeless)}" if entry.lifeless else ""
        return f"{len(entry.lifeless)} of {len(entry.clips[0].layers)} layers silent or saturated on every clip{names}"

    def __str__(self) -> str:
        return "\n".join(map(str, self.runtimes))


def run_parity(
    bundle: Bundle,
    clips: Mapping[str, Clip],
    runtimes: Sequence[str] | None = None,
    progress: Progress = no_progress,
    *,
    threads: int = 1,
) -> ParityReport:
    """Compare `runtimes` (all by default) with the reference interpreter on `clips`.

    Spikes come from a session with taps; outputs from that one and from a session without, which is what is deployed.
    The reference itself is held against the bundle's golden outputs and digests, on clips whose frames are golden; on
    others it is the yardstick and nothing of it is compared.

    Raises `UnsupportedInput` for an unknown runtime or a clip of another shape.
    """
    chosen = find_runtimes(runtimes)
    program = bundle.program()
    steps = len(clips) * (len(chosen) + 1)
    traces = {}
    for done, (name, clip) in enumerate(clips.items()):
        progress(f"reference on {name}", done / steps)
        traces[name] = interpret(program, clip)
    entries = []
    for index, runtime in enumerate(chosen):
        progress(f"{runtime.name} against the reference", (index + 1) * len(clips) / steps)
        entries.append(_runtime(runtime, bundle, program, clips, traces, threads))
    progress("parity", 1.0)
    return ParityReport(
        bundle=str(bundle.folder),
        fingerprint=fingerprint(bundle),
        clips=tuple(clips),
        runtimes=tuple(entries),
        required=tuple(runtimes or ()),
    )


def _runtime(
    runtime: Runtime,
    bundle: Bundle,
    program: Program,
    clips: Mapping[str, Clip],
    traces: Mapping[str, Trace],
    threads: int,
) -> RuntimeParity:
    reason = runtime.available(bundle)
    if reason is not None:
        return RuntimeParity(runtime=runtime.name, reason=reason)
    try:
        if runtime.name == "reference":
            found = tuple(_golden(bundle, program, name, clip, traces[name]) for name, clip in clips.items())
            return RuntimeParity(runtime=runtime.name, clips=found, lifeless=_lifeless(found))
        found = ()
        with (
            runtime.open(bundle, threads=threads, taps=True) as tapped,
            runtime.open(bundle, threads=threads, taps=False) as plain,
        ):
            runtime.verify(bundle)
            for name, clip in clips.items():
                result = compare(program, clip, traces[name], tapped.run(clip), name)
                deployed = compare_outputs(traces[name].outputs, plain.run(clip).outputs)
                worst = tuple(
                    max(pair, key=lambda o: o.differing) for pair in zip(result.outputs, deployed, strict=True)
                )
                found += (result.model_copy(update={"outputs": worst}),)
        return RuntimeParity(runtime=runtime.name, clips=found, lifeless=_lifeless(found))
    except SvfError as error:
        return RuntimeParity(runtime=runtime.name, failure=str(error))


def _golden(bundle: Bundle, program: Program, name: str, clip: Clip, trace: Trace) -> ClipParity:
    """The reference on this machine against the golden vector made where the bundle was exported, if `clip` is one."""
    digests: Mapping[str, str] = {}
    outputs: tuple[OutputParity, ...] = ()
    for entry in bundle.manifest.golden:
        frames, expected = bundle.golden(entry.name)
        if np.array_equal(frames, clip):
            digests, outputs = entry.digests, compare_outputs(expected, trace.outputs)
    layers = []
    for lif in program.lifs:
        spikes = trace.spikes[lif.name]
        if lif.name in digests and digest(pack_spikes(spikes, lif.levels)) != digests[lif.name]:
            raise SvfError(
                f"{bundle.folder}: golden clip '{name}': the reference's spikes of layer '{lif.name}' have another "
                "digest than when the bundle was exported; export the bundle again"
            )
        size = spikes.size * lif.levels
        layers.append(
            LayerParity(
                layer=lif.name,
                size=size,
                fired=int(spikes.sum(dtype=np.int64)),
                compared=size if lif.name in digests else 0,
                differing=0,
            )
        )
    return ClipParity(clip=name, layers=tuple(layers), outputs=outputs)


def compare(program: Program, clip: Clip, reference: Trace, result: RunResult, name: str = "clip") -> ClipParity:
    """Compare a tapped `result` on `clip` with the `reference` trace of it, layer by layer in running order."""
    layers = []
    first: Address | None = None
    for lif in program.lifs:
        expected = reference.spikes[lif.name]
        layer, words = _compare_layer(lif, expected, result.spikes[lif.name])
        layers.append(layer)
        if layer.differing and first is None:
            first = _address(program, clip, lif, expected, words)
    return ClipParity(
        clip=name,
        layers=tuple(layers),
        outputs=compare_outputs(reference.outputs, result.outputs),
        first=first,
    )


def _lifeless(clips: Sequence[ClipParity]) -> tuple[str, ...]:
    return tuple(
        layers[0].layer
        for layers in zip(*(clip.layers for clip in clips), strict=True)
        if all(layer.lifeless for layer in layers)
    )


def _compare_layer(lif: Lif, expected: NDArray[np.int32], words: Words) -> tuple[LayerParity, Words]:
    """Compare as packed words, where padding is visible; returns the words with padding cleared as well."""
    wanted = pack_spikes(expected, lif.levels)
    if words.shape != wanted.shape:
        raise SvfError(
            f"layer '{lif.name}': the runtime's spikes are words {list(words.shape)}, expected {list(wanted.shape)}; "
            "export the bundle again"
        )
    real = pack_last(np.ones(expected.shape[1], np.uint8))
    stray = int(np.count_nonzero(words & ~real))
    words = words & real
    return (
        LayerParity(
            layer=lif.name,
            size=expected.size * lif.levels,
            fired=_ones(wanted),
            compared=expected.size * lif.levels,
            differing=_ones(words ^ wanted),
            stray=stray,
        ),
        words,
    )


def _ones(words: Words) -> int:
    return int(np.bitwise_count(words.view(np.uint32)).sum(dtype=np.int64))


def _address(program: Program, clip: Clip, lif: Lif, expected: NDArray[np.int32], words: Words) -> Address:
    bits = unpack_last(words, expected.shape[1])
    counts = bits if lif.levels == 1 else bits.sum(axis=0)
    found = np.moveaxis(counts, -1, 1).astype(np.int32)
    # A thermometer code with holes has the right count and the wrong planes; it differs where a plane does.
    wanted = unpack_last(pack_spikes(expected, lif.levels), expected.shape[1])
    planes = bits != wanted
    differs = np.moveaxis(planes if lif.levels == 1 else planes.any(axis=0), -1, 1)
    t, c, y, x = (int(i) for i in np.unravel_index(int(differs.argmax()), differs.shape))
    return Address(
        layer=lif.name,
        t=t,
        channel=c,
        y=y,
        x=x,
        expected=int(expected[t, c, y, x]),
        found=int(found[t, c, y, x]),
        potential=potential(program, clip, lif, (t, c, y, x)),
        theta=int(lif.theta[c]),
    )


def potential(program: Program, clip: Clip, lif: Lif, place: tuple[int, int, int, int]) -> int:
    """Membrane potential H of one neuron of `lif` at `place` = (t, channel, y, x), before its reset."""
    t, c, y, x = place
    inputs: list[int] = []

    def keep(name: str, values: NDArray[np.int64]) -> None:
        if name == lif.source:
            inputs.extend(int(v) for v in values[: t + 1, c, y, x])

    interpret(program, clip, keep)
    gain, bias, theta = int(lif.gain[c]), int(lif.bias[c]), int(lif.theta[c])
    membrane = held = 0
    for value in inputs:
        held = (membrane + gain * value + bias) >> 1
        spikes = min(max(held // theta, 0), lif.levels)
        membrane = (0 if spikes else held) if lif.reset == "hard" else held - spikes * theta
    return held


def compare_outputs(
    expected: Mapping[str, NDArray[np.int32]], found: Mapping[str, NDArray[np.int32]]
) -> tuple[OutputParity, ...]:
    """Compare outputs by name. Raises `SvfError` when one is missing or has another shape."""
    results = []
    for name, values in expected.items():
        if name not in found or found[name].shape != values.shape:
            shape = list(found[name].shape) if name in found else "missing"
            raise SvfError(f"output '{name}' is {shape}, expected {list(values.shape)}; export the bundle again")
        differs = found[name] != values
        count = int(np.count_nonzero(differs))
        if not count:
            results.append(OutputParity(name=name, compared=values.size, differing=0))
            continue
        index = tuple(int(i) for i in np.unravel_index(int(differs.argmax()), differs.shape))
        results.append(
            OutputParity(
                name=name,
                compared=values.size,
                differing=count,
                index=index,
                expected=int(values[index]),
                found=int(found[name][index]),
            )
        )
    return tuple(results)
