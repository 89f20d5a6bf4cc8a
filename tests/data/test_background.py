import numpy as np
import pytest

from svf_edge.data.background import draw_background, panoramas, photograph, textures
from svf_edge.data.sensor import expose


def test_the_shipped_photographs_are_there_and_small() -> None:
    assert len(panoramas()) >= 12 and len(textures()) == 3
    assert all(p.shape == (512, 1024, 3) and p.dtype == np.uint8 and p.std() > 20 for p in panoramas())
    assert all(t.mean() == pytest.approx(1, abs=1e-3) and t.std() > 0.05 for t in textures())


def test_looking_down_shows_the_ground_and_up_the_sky(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.broadcast_to(np.arange(512, dtype=np.float32)[:, None, None] / 2, (512, 1024, 3)).astype(np.uint8)
    monkeypatch.setattr("svf_edge.data.background.panoramas", lambda: (np.ascontiguousarray(rows),))
    down, level, up = (photograph(np.random.default_rng(0), (32, 48), pitch, 0.0) for pitch in (0.5, 0.0, -0.5))
    assert down.mean() > level.mean() > up.mean()
    assert (np.diff(level[:, 24, 0]) >= 0).all() and level[-1, 24, 0] > level[0, 24, 0]


@pytest.mark.parametrize("seed", range(12))
def test_scenes_have_any_size_and_are_not_flat(seed: int) -> None:
    image = draw_background(np.random.default_rng(seed), (40, 57), 0.1, 0.05)
    assert image.shape == (40, 57, 3) and image.dtype == np.float32
    assert np.isfinite(image).all() and image.std() > 0.005


def test_the_camera_keeps_what_it_sees() -> None:
    """Through blur, noise, scaling and compression, at sizes that are no multiple of 8 or 2."""
    scene = np.zeros((2, 43, 37, 3), np.float32)
    scene[:, 21:] = 0.8
    for seed in range(60):
        shown = expose(np.random.default_rng(seed), scene.copy())
        assert shown.shape == (2, 3, 43, 37) and shown.dtype == np.uint8
        assert shown[:, :, 28:].mean() > shown[:, :, :14].mean() + 100
