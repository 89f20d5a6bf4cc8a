"""Step by step == the causal clip, bit for bit, on every runtime: outputs, spikes and every tensor of the state."""

from __future__ import annotations

from collections.abc import Mapping
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
from svf_edge.packing import pack_spikes
from svf_edge.program import Program, run
from svf_edge.program.interpret import State, Trace
from svf_edge.program.ir import Mode
from svf_edge.runtimes.base import Clip, RunResult
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


def expect(session: StreamSession, result: RunResult, program: Program, frames: Clip, state: State) -> None:
    """The reference's next piece of the stream, from `state`, equals `result`, and then the states are equal."""
    trace = run(program.for_steps(len(frames)), frames, state=state)
    assert result.outputs.keys() == trace.outputs.keys() and result.spikes.keys() == trace.spikes.keys()
    for name, values in trace.outputs.items():
        np.testing.assert_array_equal(result.outputs[name], values)
    for lif in program.lifs:
        np.testing.assert_array_equal(result.spikes[lif.name], pack_spikes(trace.spikes[lif.name], lif.levels))
    expected = {**state.membranes, **state.summaries}
    found = session.state()
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
def stretches(program: Program) -> list[tuple[Clip, Trace]]:
    """300 frames in three streams, and what the causal clip of each gives as a whole."""
    frames = noise_clip((300, *program.frames.shape[1:]), 2)
    clips = [frames[begin:end] for begin, end in ((0, 7), (7, 120), (120, 300))]
    traces = [run(program.for_steps(len(clip)), clip) for clip in clips]
    assert_not_silent(traces[1].spikes)
    return list(zip(clips, traces, strict=True))


@pytest.mark.parametrize("runtime", ["reference", *RUNTIMES, "torch packed", "torch portable"])
def test_three_hundred_frames_over_resets(
    bundle: Bundle, program: Program, stretches: list[tuple[Clip, Trace]], runtime: str
) -> None:
    levels = {lif.name: lif.levels for lif in program.lifs}
    with open_stream(bundle, runtime) as session:
        for frames, clip in stretches:
            session.reset()
            state = State()
            for t in range(len(frames)):
                result = session.step(frames[t : t + 1])
                expect(session, result, program, frames[t : t + 1], state)
                for name, values in clip.outputs.items():
                    np.testing.assert_array_equal(result.outputs[name], values[t : t + 1])
                for name, spikes in clip.spikes.items():
                    np.testing.assert_array_equal(result.spikes[name], pack_spikes(spikes[t : t + 1], levels[name]))


@pytest.mark.parametrize("runtime", ["reference", *RUNTIMES, "torch packed", "torch portable"])
def test_interleaved_streams_never_touch(bundle: Bundle, program: Program, runtime: str) -> None:
    streams = [noise_clip((9, *program.frames.shape[1:]), seed) for seed in (3, 4)]
    states = (State(), State())
    with open_stream(bundle, runtime) as first, open_stream(bundle, runtime) as second:
        for t in range(9):
            for session, frames, state in zip((first, second), streams, states, strict=True):
                expect(session, session.step(frames[t : t + 1]), program, frames[t : t + 1], state)


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
    for session in sessions:
        with session:
            state = State()
            for t in range(len(frames)):
                expect(session, session.step(frames[t : t + 1]), program, frames[t : t + 1], state)


def test_wrong_frames_leave_the_stream_as_it_was(bundle: Bundle, program: Program) -> None:
    frames = noise_clip(program)
    with open_stream(bundle, RUNTIMES[0]) as session:
        state = State()
        expect(session, session.step(frames[:1]), program, frames[:1], state)
        with pytest.raises(UnsupportedInput, match=r"uint8 \[2, 3, 13, 10\].*takes uint8 \[1, 3, 13, 10\]"):
            session.step(frames[:2])
        expect(session, session.step(frames[1:2]), program, frames[1:2], state)


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
