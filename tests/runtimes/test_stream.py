"""Step by step == the causal clip, bit for bit, on every runtime: outputs, spikes and every tensor of the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from svf_edge.errors import UnsupportedInput
from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.export.executorch import export_executorch
from svf_edge.export.torch_graph import TorchDialect, build_module
from svf_edge.packing import Words, pack_spikes
from svf_edge.program import Program, run
from svf_edge.program.interpret import State
from svf_edge.program.ir import Mode
from svf_edge.runtimes.base import Clip
from svf_edge.runtimes.executorch import ExecuTorchSession
from svf_edge.runtimes.parity import run_parity
from svf_edge.runtimes.registry import find_runtime
from svf_edge.runtimes.runner_schema import ExitCode, RunnerParity
from svf_edge.runtimes.stream import StreamSession
from tests.native.runner.support import svf_run
from tests.once import once
from tests.programs import assert_not_silent, far_sighted_program, noise_clip, random_program

RUNTIMES = (
    "onnxruntime packed",
    "onnxruntime packed, no library",
    "onnxruntime portable",
    "executorch packed",
    "executorch portable",
)


@pytest.fixture(scope="module")
def program() -> Program:
    return random_program(5, steps=12, channels=16, heads=2, scope="causal", window=4, reset="soft", levels=2)


@pytest.fixture(scope="module")
def bundle(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    def make(folder: Path) -> None:
        write_bundle(program, folder, {"noise": noise_clip(program)}, form="stream")

    return Bundle.open(once(tmp_path_factory, "stream", make))


def torch_stream(program: Program, dialect: TorchDialect) -> StreamSession:
    module = build_module(program.for_steps(1), dialect, taps=True, stream=True)

    def step(inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        with torch.no_grad():
            return [tensor.numpy() for tensor in module(*map(torch.from_numpy, inputs.values()))]

    return StreamSession(program, step, dialect == "packed")


def open_stream(bundle: Bundle, runtime: str) -> StreamSession:
    if runtime.startswith("torch "):
        return torch_stream(bundle.program(), "packed" if runtime.endswith("packed") else "portable")
    session = find_runtime(runtime).open(bundle, taps=True)
    assert isinstance(session, StreamSession)
    return session


@dataclass(frozen=True)
class Step:
    """What a frame must leave: outputs, the words of every LIF, and every tensor of the state by node."""

    outputs: Mapping[str, NDArray[np.int32]]
    words: Mapping[str, Words]
    state: Mapping[str, NDArray[np.int64]]


def steps_of(program: Program, frames: Clip) -> list[Step]:
    """The reference, step by step through a stream of its own."""
    one, state = program.for_steps(1), State()
    steps: list[Step] = []
    for t in range(len(frames)):
        trace = run(one, frames[t : t + 1], state=state)
        words = {lif.name: pack_spikes(trace.spikes[lif.name], lif.levels) for lif in program.lifs}
        steps.append(Step(trace.outputs, words, {**state.membranes, **state.summaries}))
    return steps


def expect(session: StreamSession, frame: Clip, step: Step) -> None:
    """The next frame leaves what `step` says, and then the states are equal."""
    result = session.step(frame)
    for found, expected in (
        (result.outputs, step.outputs),
        (result.spikes, step.words),
        (session.state(), step.state),
    ):
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_parity_of_a_stream_bundle(bundle: Bundle, program: Program) -> None:
    report = run_parity(bundle, {"noise": noise_clip(program), "other": noise_clip(program, 1)})
    assert report, str(report)
    equal = {entry.runtime for entry in report.runtimes if entry.verdict == "equal"}
    assert {"reference", *RUNTIMES} <= equal


def test_a_device_without_python_runs_it(bundle: Bundle) -> None:
    """svf-run keeps the state itself, over more frames than the window; every layer's spikes are compared."""
    done = svf_run("parity", bundle.folder)
    found = RunnerParity.model_validate_json(done.stdout)
    assert [(entry.runtime, entry.verdict) for entry in found.runtimes] == [(name, "equal") for name in RUNTIMES]
    done = svf_run("bench", bundle.folder, "--runs", 5, "--warm-up", 1, "--runtime", "onnxruntime packed")
    assert done.returncode == ExitCode.OK, done


@pytest.fixture(scope="module")
def stretches(program: Program) -> list[tuple[Clip, list[Step]]]:
    """300 frames in three streams, and what every one of them must leave."""
    frames = noise_clip((300, *program.frames.shape[1:]), 2)
    clips = [frames[begin:end] for begin, end in ((0, 7), (7, 120), (120, 300))]
    return [(clip, steps_of(program, clip)) for clip in clips]


def test_steps_of_the_reference_are_its_clip(program: Program, stretches: list[tuple[Clip, list[Step]]]) -> None:
    for frames, steps in stretches:
        clip = run(program.for_steps(len(frames)), frames)
        assert_not_silent(clip.spikes)
        for name, values in clip.outputs.items():
            np.testing.assert_array_equal(np.concatenate([step.outputs[name] for step in steps]), values)
        for lif in program.lifs:
            found = np.concatenate([step.words[lif.name] for step in steps], axis=1)
            np.testing.assert_array_equal(found, pack_spikes(clip.spikes[lif.name], lif.levels))


@pytest.mark.parametrize("runtime", ["reference", *RUNTIMES, "torch packed", "torch portable"])
def test_three_hundred_frames_over_resets(
    bundle: Bundle, stretches: list[tuple[Clip, list[Step]]], runtime: str
) -> None:
    with open_stream(bundle, runtime) as session:
        for frames, steps in stretches:
            session.reset()
            for t, step in enumerate(steps):
                expect(session, frames[t : t + 1], step)


@pytest.mark.parametrize("runtime", ["reference", *RUNTIMES, "torch packed", "torch portable"])
def test_interleaved_streams_never_touch(bundle: Bundle, program: Program, runtime: str) -> None:
    streams = [noise_clip((9, *program.frames.shape[1:]), seed) for seed in (3, 4)]
    expected = [steps_of(program, frames) for frames in streams]
    with open_stream(bundle, runtime) as first, open_stream(bundle, runtime) as second:
        for t in range(9):
            for session, frames, steps in zip((first, second), streams, expected, strict=True):
                expect(session, frames[t : t + 1], steps[t])


def test_a_window_of_64_frames_beyond_float32(tmp_path: Path) -> None:
    """Bodies and portable graphs carry in float64 what float32 would round, and only that."""
    program = far_sighted_program(steps=70, window=64)
    frames = noise_clip(program)
    rounded: list[int] = []
    run(program, frames, lambda name, x: rounded.append(int((x != x.astype(np.float32)).sum())))
    assert sum(rounded) > 1000
    bundle = write_bundle(program, tmp_path / "b", {"noise": frames}, form="stream", targets=["onnx"])
    export_executorch(program, "portable", tmp_path / "p.pte", taps=True, stream=True)
    pte = ExecuTorchSession(tmp_path / "p.pte")
    sessions = [open_stream(bundle, runtime) for runtime in (*RUNTIMES[:3], "torch packed", "torch portable")]
    sessions.append(StreamSession(program, lambda inputs: pte.run(*inputs.values()), close=pte.close))
    steps = steps_of(program, frames)
    for session in sessions:
        with session:
            for t, step in enumerate(steps):
                expect(session, frames[t : t + 1], step)


def test_wrong_frames_leave_the_stream_as_it_was(bundle: Bundle, program: Program) -> None:
    frames = noise_clip(program)
    with open_stream(bundle, RUNTIMES[0]) as session:
        first, second = steps_of(program, frames[:2])
        expect(session, frames[:1], first)
        with pytest.raises(UnsupportedInput, match=r"uint8 \[2, 3, 13, 10\].*takes uint8 \[1, 3, 13, 10\]"):
            session.step(frames[:2])
        expect(session, frames[1:2], second)


def test_spatial_attention_remembers_membranes_alone(tmp_path: Path) -> None:
    program = random_program(6, steps=4, channels=16, heads=2, scope="spatial", levels=3)
    clips = {"noise": noise_clip(program)}
    bundle = write_bundle(program, tmp_path / "b", clips, form="stream", targets=["onnx"])
    report = run_parity(bundle, clips, ["onnxruntime packed", "onnxruntime portable"])
    assert report, str(report)


@pytest.mark.parametrize("mode", ["hamming", "dot"])
def test_causal_clips(tmp_path: Path, mode: Mode) -> None:
    program = random_program(7, steps=7, channels=16, heads=2, scope="causal", window=3, mode=mode)
    clips = {"noise": noise_clip(program)}
    bundle = write_bundle(program, tmp_path / "b", clips, targets=["onnx"])
    report = run_parity(bundle, clips)
    assert report, str(report)
    assert sum(entry.verdict == "equal" for entry in report.runtimes) == 4


def test_a_joint_program_has_no_stream_form(tmp_path: Path) -> None:
    program = random_program(channels=16)
    with pytest.raises(UnsupportedInput, match=r"sees later frames.*causal"):
        write_bundle(program, tmp_path / "b", {"noise": noise_clip(program)}, form="stream", targets=["onnx"])
    assert not (tmp_path / "b").exists()
