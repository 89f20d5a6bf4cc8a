import numpy as np
import pytest

from svf_edge.data.render import Camera, Capsules, Layer, Light, join_capsules, rasterise

FLAT = Light(np.array([0, 0, -1], np.float32), np.ones(3, np.float32), np.zeros(3, np.float32))
PLAIN = np.zeros((1, 16, 16), np.float32)


def capsule(start: list[float], end: list[float], radius: float, colour: list[float]) -> Capsules:
    return join([(start, end, radius, colour)])


def join(items: list[tuple[list[float], list[float], float, list[float]]]) -> Capsules:
    count = len(items)
    return Capsules(
        start=np.array([[i[0] for i in items]], np.float32),
        end=np.array([[i[1] for i in items]], np.float32),
        start_radius=np.array([i[2] for i in items], np.float32),
        end_radius=np.array([i[2] for i in items], np.float32),
        colours=np.array([[i[3], [1, 1, 1]] for i in items], np.float32),
        slope=np.zeros(count, np.float32),
        facing=np.zeros((1, count, 3), np.float32),
        threshold=np.full(count, 9, np.float32),
        texture=np.zeros((count, 3), np.float32),
        cloth=np.zeros(count, np.int64),
        label=np.zeros(count, np.uint8),
    )


def camera(focal: float = 64.0, size: int = 64) -> Camera:
    return Camera(np.full(1, focal, np.float32), np.full((1, 2), size / 2, np.float32))


def drawn(layer: Layer) -> np.ndarray:
    image = np.zeros((*layer.shape, 3), np.float32)
    layer.draw(image)
    return image


def test_a_sphere_covers_its_disc_and_nothing_else() -> None:
    layer = rasterise(capsule([0, 0, 4], [0, 0, 4], 1.0, [1, 0.5, 0.25]), camera(), FLAT, PLAIN, (64, 64))
    assert layer.coverage().sum() == pytest.approx(np.pi * 16**2, rel=0.01)
    np.testing.assert_allclose(drawn(layer)[0, 32, 32], [1, 0.5, 0.25])
    y, x = np.mgrid[:64, :64] + 0.5 - 32
    assert not layer.coverage()[0][np.hypot(x, y) > 17.5].any()
    assert (layer.coverage()[0][np.hypot(x, y) < 14.5] == 1).all()


def test_a_capsule_covers_its_axis() -> None:
    layer = rasterise(capsule([-1, -1, 4], [1, 1, 4], 0.25, [0, 1, 0]), camera(), FLAT, PLAIN, (64, 64))
    area = 2 * 4 * np.hypot(32, 32) + np.pi * 4**2
    assert layer.coverage().sum() == pytest.approx(area, rel=0.03)
    assert all(layer.coverage()[0, i, i] == 1 for i in range(16, 48))
    assert not layer.coverage()[0, 16, 48]


@pytest.mark.parametrize("order", [1, -1])
def test_the_nearer_part_wins(order: int) -> None:
    near = ([0.0, 0.0, 3.0], [0.0, 0.0, 3.0], 0.5, [1.0, 0.0, 0.0])
    far = ([0.0, 0.0, 6.0], [0.0, 0.0, 6.0], 2.0, [0.0, 0.0, 1.0])
    layer = rasterise(join([near, far][::order]), camera(), FLAT, PLAIN, (64, 64))
    np.testing.assert_array_equal(drawn(layer)[0, 32, 32], [1, 0, 0])
    np.testing.assert_array_equal(drawn(layer)[0, 32, 32 + 15], [0, 0, 1])


def test_light_falls_on_the_side_it_comes_from() -> None:
    light = Light(np.array([-1, 0, 0], np.float32), np.full(3, 0.2, np.float32), np.ones(3, np.float32))
    sphere = capsule([0, 0, 4], [0, 0, 4], 1.0, [0.5] * 3)
    layer = rasterise(sphere, camera(), light, PLAIN, (64, 64))
    assert drawn(layer)[0, 32, 20, 0] > 2 * drawn(layer)[0, 32, 44, 0] > 0


def test_what_lies_outside_the_frame_draws_nothing() -> None:
    layer = rasterise(capsule([9, 0, 4], [9, 1, 4], 0.5, [1, 1, 1]), camera(), FLAT, PLAIN, (64, 48))
    assert layer.coverage().shape == (1, 64, 48)
    assert not layer.coverage().any()
    background = np.random.default_rng(0).random((1, 64, 48, 3), dtype=np.float32)
    image = background.copy()
    layer.draw(image)
    np.testing.assert_array_equal(image, background)


@pytest.mark.parametrize("end", [[2.0, 0.7, 4.0], [0.2, 1.0, 5.0], [0.0, 0.0, 6.0], [0.6, 0.0, 4.0], [0.0, -0.6, 4.0]])
def test_the_rows_of_a_capsule_miss_nothing(end: list[float]) -> None:
    """Against the definition, pixel by pixel: the interpolated radius less the distance from the axis."""
    shape = capsule([-0.3, 0.1, 4.0], end, 0.4, [1, 1, 1])
    shape = Capsules(**(shape.__dict__ | {"end_radius": np.array([0.15], np.float32)}))
    view = camera()
    covered = rasterise(shape, view, FLAT, PLAIN, (64, 64)).coverage()[0]
    a, b = view.project(shape.start)[0, 0], view.project(shape.end)[0, 0]
    ra, rb = 64 * 0.4 / 4, 64 * 0.15 / end[2]
    y, x = np.mgrid[:64, :64] + 0.5
    p = np.stack([x, y], axis=-1) - a
    t = np.clip(p @ (b - a) / max(float((b - a) @ (b - a)), 1e-9), 0, 1)
    inside = ra + t * (rb - ra) - np.linalg.norm(p - t[..., None] * (b - a), axis=-1)
    np.testing.assert_allclose(covered, np.clip(inside + 0.5, 0, 1), atol=2e-3)
    assert covered.max() == 1


def test_the_foremost_part_owns_a_pixel_and_edges_lie_on_what_is_behind() -> None:
    back = capsule([0, 0, 6], [0, 0, 6], 2.0, [0, 0, 1])
    front = capsule([0, 0, 3], [0, 0, 3], 0.5, [1, 0, 0])
    layer = rasterise(join_capsules([back, front]), camera(), FLAT, PLAIN, (64, 64))
    parts, image = layer.parts()[0], drawn(layer)[0]
    assert parts[32, 32] == 1 and parts[32, 32 + 14] == 0 and parts[0, 0] == -1
    both = (image[..., 0] > 0.05) & (image[..., 2] > 0.05)  # the edge of the front disc, over the other
    assert both.any() and np.hypot(*(np.argwhere(both) - 31.5).T).max() < 12
    np.testing.assert_allclose(image[both].sum(axis=-1), 1, atol=1e-5)
