import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from svf_edge.data.events import MMHPSD_CAMERA, EventCamera, EventClips, log_intensity, simulate_events
from svf_edge.errors import UnsupportedInput
from tests.data.rendered import assert_well_formed, rendered

EXACT = EventCamera(threshold_noise=0.0)


def flat(*levels: int) -> np.ndarray:
    """Frames [T, 3, 2, 2] of one grey level each."""
    return np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (len(levels), 3, 2, 2)).copy()


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_change_makes_as_many_events_as_thresholds_fit() -> None:
    counts = simulate_events(flat(100, 200, 200, 50), EXACT, rng())
    assert counts.shape == (3, 2, 2, 2) and counts.dtype == np.uint8
    up, down = np.log(2), np.log(4)
    left = up - 0.15 * np.floor(up / 0.15)  # the reference lags behind by what did not make an event
    assert counts[:, 0, 0, 0].tolist() == [int(up / 0.15), 0, 0]
    assert counts[:, 1, 0, 0].tolist() == [0, 0, int((down - left) / 0.15)]


def test_slow_change_adds_up() -> None:
    counts = simulate_events(flat(*range(100, 131)), EXACT, rng())
    assert counts[:, 0, 0, 0].max() == 1
    assert counts[:, 0, 0, 0].sum() == int(np.log(130 / 100) / 0.15)
    assert not counts[:, 1].any()


def test_the_dark_is_linear_and_continuous() -> None:
    levels = log_intensity(flat(*range(256)))[:, 0, 0]
    steps = np.diff(levels)
    np.testing.assert_allclose(steps[:20], np.log(20) / 20, atol=1e-5)
    np.testing.assert_allclose(levels[20:], np.log(np.arange(20, 256)), atol=1e-5)
    assert (steps > 0).all()


def test_slices_and_polarity_split_the_same_events() -> None:
    frames = rendered()[0]["frames"].numpy()
    both = simulate_events(frames, EXACT, rng())
    one = simulate_events(frames, EventCamera(threshold_noise=0.0, polarity=False), rng())
    np.testing.assert_array_equal(both.sum(1), one[:, 0])
    sliced = simulate_events(frames, EventCamera(threshold_noise=0.0, slices=4), rng())
    assert sliced.shape[1] == 8
    grouped = sliced.reshape(len(sliced), 4, 2, 64, 64).sum(1)
    assert (grouped != both).mean() < 1e-4  # floor of a sum in float32
    assert (sliced[:, :2].any(), sliced[:, 6:].any()) == (True, True)
    binary = simulate_events(frames, MMHPSD_CAMERA.model_copy(update={"threshold_noise": 0.0}), rng())
    np.testing.assert_array_equal(binary, sliced.reshape(len(sliced), 4, 2, 64, 64).any(2))


@given(st.lists(st.integers(0, 255), min_size=2, max_size=6), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_the_reference_stays_within_a_threshold_of_the_signal(levels: list[int], slices: int) -> None:
    counts = simulate_events(flat(*levels), EventCamera(threshold_noise=0.0, slices=slices), rng()).astype(int)
    on, off = counts.reshape(len(counts), slices, 2, 4)[..., 0].sum(1).T
    signal = log_intensity(flat(*levels))[:, 0, 0]
    reference = signal[0] + 0.15 * np.cumsum(on - off)
    assert (np.abs(signal[1:] - reference) < 0.15 + 1e-4).all()


def test_noise_differs_between_pixels_and_not_between_runs() -> None:
    frames = np.broadcast_to(flat(40, 200)[..., :1, :1], (2, 3, 32, 32)).copy()
    noisy = simulate_events(frames, EventCamera(threshold_noise=0.03), rng())
    assert len(np.unique(noisy[0, 0])) > 3
    np.testing.assert_array_equal(noisy, simulate_events(frames, EventCamera(threshold_noise=0.03), rng()))
    assert (noisy != simulate_events(frames, EventCamera(threshold_noise=0.03), np.random.default_rng(1))).any()


def test_counts_saturate() -> None:
    assert simulate_events(flat(0, 255), EventCamera(threshold=0.01, threshold_noise=0), rng()).max() == 255


def test_event_clips_keep_labels_of_the_ends_of_intervals() -> None:
    source = rendered()
    data = EventClips(source, seed=4)
    assert len(data) == len(source)
    for index in range(len(data)):
        sample = data[index]
        assert_well_formed(sample, 8, 2, (64, 64))
        torch.testing.assert_close(sample["joints"], source[index]["joints"][1:])
        torch.testing.assert_close(sample["joints3d"], source[index]["joints3d"][1:])
        assert torch.equal(sample["frames"], data[index]["frames"])
        share = (sample["frames"] > 0).float().mean()
        assert 0.001 < share < 0.7
    assert not torch.equal(data[0]["frames"], EventClips(source, seed=5)[0]["frames"])
    with pytest.raises(IndexError):
        data[len(source)]


def test_events_lie_where_the_picture_changes() -> None:
    clip = rendered()[0]
    events = simulate_events(clip["frames"].numpy(), EXACT, rng()).sum(1) > 0
    change = np.abs(np.diff(log_intensity(clip["frames"].numpy()), axis=0))
    assert change[events].mean() > 3 * change[~events].mean()


@pytest.mark.parametrize(
    "frames", [np.zeros((1, 3, 4, 4), np.uint8), np.zeros((2, 2, 4, 4), np.uint8), np.zeros((2, 3, 4, 4), np.float32)]
)
def test_other_input_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(UnsupportedInput, match="at least two frames"):
        simulate_events(frames, EXACT, rng())


@pytest.mark.parametrize("bad", [{"threshold": 0.0}, {"slices": 0}, {"threshold_noise": -1}, {"treshold": 0.2}])
def test_a_bad_camera_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        EventCamera.model_validate(bad)
