"""Sliding over a clip graph: every step is the clip graph on the last T frames, and streams do not touch each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svf_edge.errors import UnsupportedInput
from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.program import Program, run
from svf_edge.runtimes.tracking.session import PREFERRED, Steps, open_frames
from tests.programs import random_program


def frames(program: Program, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *program.frames.shape[1:]), dtype=np.uint8)


def test_a_step_is_the_last_of_the_clip(program: Program, bundle: Bundle) -> None:
    steps = program.frames.shape[0]
    stream = frames(program, 7, 0)
    session = open_frames(bundle)
    padded = np.concatenate([np.repeat(stream[:1], steps - 1, axis=0), stream])
    for _ in range(2):  # again after a reset
        for index, frame in enumerate(stream):
            expected = run(program, padded[index : index + steps]).outputs
            found = session.step(frame)
            assert found.keys() == expected.keys()
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values[-1])
                assert found[name].any()
        session.reset()


@settings(max_examples=10, deadline=None)
@given(turns=st.lists(st.booleans(), min_size=2, max_size=12))
def test_interleaved_streams_do_not_touch_each_other(program: Program, bundle: Bundle, turns: list[bool]) -> None:
    together = {side: open_frames(bundle) for side in (False, True)}
    alone = {side: open_frames(bundle) for side in (False, True)}
    streams = {side: frames(program, len(turns), int(side)) for side in (False, True)}
    expected = {side: [alone[side].step(f) for f in streams[side][: turns.count(side)]] for side in (False, True)}
    place = {False: 0, True: 0}
    for side in turns:
        found = together[side].step(streams[side][place[side]])
        for name, values in expected[side][place[side]].items():
            np.testing.assert_array_equal(found[name], values)
        place[side] += 1


def test_a_stream_bundle_is_stepped_through(tmp_path: Path) -> None:
    """Frame after frame equals the causal clip from the stream's begin, far beyond the window, again after a reset."""
    program = random_program(5, steps=12, channels=16, heads=2, scope="causal", window=4, reset="soft", levels=2)
    stream_bundle = write_bundle(program, tmp_path / "bundle", {}, targets=("onnx",), form="stream")
    stream = frames(program, 40, 3)
    expected = run(program.for_steps(40), stream).outputs
    for runtime in (None, "reference"):
        session = open_frames(stream_bundle, runtime)
        assert isinstance(session, Steps) and session.runtime == (runtime or PREFERRED[0])
        for _ in range(2):
            for index, frame in enumerate(stream):
                for name, values in session.step(frame).items():
                    np.testing.assert_array_equal(values, expected[name][index])
            session.reset()
        with pytest.raises(UnsupportedInput, match="a step takes a uint8 frame"):
            session.step(stream[0][:, :2])


def test_what_a_bundle_lacks_is_passed_over(bundle: Bundle) -> None:
    assert open_frames(bundle).runtime == PREFERRED[0]
    poorer = Bundle(bundle.folder, bundle.manifest.model_copy(update={"libraries": []}))
    assert open_frames(poorer).runtime == "onnxruntime portable"
    with pytest.raises(UnsupportedInput, match="the bundle has no packed ExecuTorch program"):
        open_frames(bundle, "executorch packed")
    with pytest.raises(UnsupportedInput, match="did you mean 'onnxruntime packed'"):
        open_frames(bundle, "onnxruntime paked")


def test_another_frame_is_refused(bundle: Bundle) -> None:
    with pytest.raises(UnsupportedInput, match="a step takes a uint8 frame"):
        open_frames(bundle).step(np.zeros((3, 5, 5), np.uint8))
