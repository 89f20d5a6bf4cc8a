"""Random motions of one person: captured ones, varied and blended ones, and everyday poses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from svf_edge.data import mocap
from svf_edge.data.mocap import MotionClip
from svf_edge.data.sample import UNKNOWN_CLASS

Array = NDArray[np.float32]
Times = NDArray[np.float64]

EVERYDAY_SHARE: Final[float] = 0.4
"""Share of training clips that show an everyday pose and gestures instead of a captured motion."""

Pose = Literal["standing", "sitting", "bending", "balancing", "astride"]
POSES: Final[dict[Pose, float]] = {
    "standing": 0.5,
    "sitting": 0.1,
    "bending": 0.15,
    "balancing": 0.15,
    "astride": 0.1,
}
"""Shares of everyday poses: bending goes as far as crouching, balancing is on one leg."""

SHARES: Final[dict[str, float]] = {
    "walk": 3.0,
    "jump": 2.5,
    "dance_a": 1.5,
    "punch": 1.5,
    "spin": 1.5,
    **dict.fromkeys(mocap.FLOOR_MOTIONS, 0.3),
}
"""How often training draws a captured motion, 1 where not named. The five turning walks count one each."""

_STANDING_HEIGHT: Final = 0.89
_ROTATED: Final = {name: i for i, name in enumerate(mocap.SPHERICAL)}
_BENT: Final = {name: i for i, name in enumerate(mocap.HINGES)}


class Motion(NamedTuple):
    """Root positions [T, 3], rotations [T, 3, 3] of every link in its parent, and the index in MOTION_NAMES."""

    root: Array
    rotations: dict[str, Array]
    label: int


def random_step(rng: np.random.Generator) -> float:
    """Seconds between frames: 12 to 30 frames a second as a rule, 5 to 60 at times, at 0.7 to 1.3 of the speed."""
    low, high = (5, 60) if rng.random() < 0.25 else (12, 30)
    return float(rng.uniform(0.7, 1.3) / np.exp(rng.uniform(np.log(low), np.log(high))))


def random_motion(rng: np.random.Generator, motions: tuple[MotionClip, ...], vary: bool) -> Callable[[Times], Motion]:
    """Draws a random stretch at given times (seconds from any start, increasing); as captured unless `vary`."""
    return lambda times: _varied(rng, motions, times) if vary else _any(rng, motions, times)


def named_motion(rng: np.random.Generator, motions: tuple[MotionClip, ...], vary: bool) -> Callable[[Times], Motion]:
    """The same, but all motions are equally likely and none is mixed with another; `vary` moves joints a little."""

    def draw(times: Times) -> Motion:
        motion = _any(rng, motions, times)
        return _jittered(rng, motion, times, 0.12) if vary else motion

    return draw


def _any(rng: np.random.Generator, motions: tuple[MotionClip, ...], times: Times) -> Motion:
    return _captured(rng, motions[int(rng.integers(len(motions)))], times)


def _varied(rng: np.random.Generator, motions: tuple[MotionClip, ...], times: Times) -> Motion:
    if rng.random() < EVERYDAY_SHARE:
        return _jittered(rng, _everyday(rng, times), times, 0.06)
    shares = np.array([SHARES.get(m.name, 1.0) for m in motions])
    motion = _captured(rng, _pick(rng, motions, shares), times)
    kind = rng.random()
    if kind < 0.2:  # the legs of one, the upper body of another
        other = _captured(rng, _pick(rng, motions, shares), times)
        motion.rotations.update({name: other.rotations[name] for name in mocap.UPPER_BODY})
    elif kind < 0.4:  # walks and jumps with arms as people hold them
        other = _everyday(rng, times)
        motion.rotations.update({name: other.rotations[name] for name in mocap.UPPER_BODY})
    elif kind < 0.5:
        motion = _blend(motion, _captured(rng, _pick(rng, motions, shares), times), _ramp(rng, times))
    strength = (0.08, 0.2, 0.45)[int(np.searchsorted((0.5, 0.85), rng.random()))]
    return _jittered(rng, motion, times, strength)


def _pick(rng: np.random.Generator, motions: tuple[MotionClip, ...], shares: NDArray[np.float64]) -> MotionClip:
    return motions[int(np.searchsorted(np.cumsum(shares), rng.random() * shares.sum(), side="right"))]


def _captured(rng: np.random.Generator, motion: MotionClip, times: Times) -> Motion:
    span = float(times[-1] - times[0])
    start = rng.uniform(0, motion.duration if motion.loop else max(motion.duration - span, 0))
    poses = motion.sample(np.maximum(start + times - times[0], 0))
    return Motion(poses[:, :3], mocap.local_rotations(poses), mocap.MOTION_NAMES.index(motion.name))


def _ramp(rng: np.random.Generator, times: Times) -> Array:
    """Weights [T] that stay somewhere between two motions or pass from one to the other."""
    middle = rng.uniform(times[0], times[-1] + 1e-3)
    pace = rng.choice(np.array([0.0, 0.15, 0.4]))
    level = rng.uniform(0.2, 0.8)
    weight = np.full(len(times), level) if pace == 0 else 1 / (1 + np.exp(-(times - middle) / pace))
    return np.asarray(weight, dtype=np.float32)


def _blend(one: Motion, two: Motion, weight: Array) -> Motion:
    """Between the limbs of two motions, by `weight` [T] of the second; it moves as the first does."""
    names = [name for name in one.rotations if name != "root"]
    mixed = np.stack([one.rotations[n] for n in names]) * (1 - weight)[:, None, None]
    mixed += np.stack([two.rotations[n] for n in names]) * weight[:, None, None]
    rotations = {"root": one.rotations["root"]} | dict(zip(names, _nearest_rotation(mixed), strict=True))
    return Motion(one.root, rotations, UNKNOWN_CLASS)


def _nearest_rotation(matrix: Array) -> Array:
    """Rotations [..., 3, 3] close to `matrix`, by Gram-Schmidt on its columns."""
    x = matrix[..., 0] / np.maximum(np.linalg.norm(matrix[..., 0], axis=-1, keepdims=True), 1e-6)
    y = matrix[..., 1] - np.sum(x * matrix[..., 1], axis=-1, keepdims=True) * x
    y = y / np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-6)
    return np.asarray(np.stack([x, y, np.cross(x, y)], axis=-1), dtype=np.float32)


def _jittered(rng: np.random.Generator, motion: Motion, times: Times, strength: float) -> Motion:
    """The motion with every joint held a little otherwise and swaying slowly; `strength` in radians."""
    rotations = dict(motion.rotations)
    names = [n for n in mocap.SPHERICAL if n != "root"]
    offset = rng.normal(0, strength, (len(names), 1, 3))
    sway = rng.normal(0, 0.3 * strength, (len(names), 1, 3))
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.uniform(0.3, 1.5) * times
    turns = mocap.rotation_vector_matrix((offset + sway * np.sin(phase)[:, None]).astype(np.float32))
    for name, turn in zip(names, turns, strict=True):
        far = "shoulder" in name and strength > 0.4
        rotations[name] = rotations[name] @ (turn @ turn if far else turn)
    bends = np.abs(rng.normal(0, strength, len(mocap.HINGES))).astype(np.float32)
    for name, bend in zip(mocap.HINGES, bends, strict=True):  # knees only bend back, elbows only forward
        rotations[name] = rotations[name] @ mocap.hinge_matrix(np.array([-bend if "knee" in name else bend]))
    return motion._replace(rotations=rotations)


def _everyday(rng: np.random.Generator, times: Times) -> Motion:
    """A pose held, the arms on their way from one ordinary place to another."""
    pose: Pose = list(POSES)[int(np.searchsorted(np.cumsum(list(POSES.values())), rng.random()))]
    turn, bend = _posture(rng, pose)
    turn_to, bend_to = _posture(rng, pose)
    for place in ("hip", "ankle", "knee"):  # the feet stay where they are
        for side in ("left", "right"):
            name = f"{side}_{place}"
            if name in _ROTATED:
                turn_to[_ROTATED[name]] = turn[_ROTATED[name]]
            else:
                bend_to[_BENT[name]] = bend[_BENT[name]]
    if pose in ("bending", "balancing"):
        turn_to[_ROTATED["root"]] = turn[_ROTATED["root"]]
    phase = (times - times[0]) / rng.uniform(0.4, 2.0) + rng.uniform(-0.5, 1)
    weight = np.clip(phase, 0, 1)
    weight = (weight * weight * (3 - 2 * weight)).astype(np.float32)[:, None, None]
    turns = mocap.rotation_vector_matrix(turn * (1 - weight) + turn_to * weight)
    bends = mocap.hinge_matrix(bend * (1 - weight[..., 0]) + bend_to * weight[..., 0])
    rotations = {name: turns[:, i] for name, i in _ROTATED.items()}
    rotations |= {name: bends[:, i] for name, i in _BENT.items()}
    root = np.zeros((len(times), 3), dtype=np.float32)
    root[:, 1] = 0.5 if pose == "sitting" else _STANDING_HEIGHT
    return Motion(root, rotations, UNKNOWN_CLASS)


def _posture(rng: np.random.Generator, pose: Pose) -> tuple[Array, Array]:
    """Rotation vectors [9, 3] of the links in SPHERICAL and angles [4] of those in HINGES.

    About x a right arm or leg moves outward by a negative angle and a left one by a positive; about z both swing
    forward by a positive angle, elbows bend by a positive and knees by a negative one.
    """
    turn = np.zeros((len(_ROTATED), 3), dtype=np.float32)
    bend = np.zeros(len(_BENT), dtype=np.float32)
    turn[_ROTATED["chest"]] = rng.normal((0, 0, -0.03), (0.06, 0.15, 0.08))
    turn[_ROTATED["neck"]] = rng.normal((0, 0, -0.05), (0.08, 0.35, 0.15))
    turn[_ROTATED["root"]] = rng.normal(0, (0.04, 0.1, 0.04))
    if rng.random() < 0.1 and pose in ("standing", "astride"):  # bowing
        turn[_ROTATED["chest"], 2] -= rng.uniform(0.2, 0.7)
    stance = abs(rng.normal(0.08, 0.07)) + (rng.uniform(0.15, 0.6) if pose == "astride" else 0.0)
    pitch = 0.0  # of the trunk; legs and hanging arms make up for it
    if pose == "bending":
        pitch = rng.uniform(0.4, 1.6)
        turn[_ROTATED["root"], 2] -= pitch
        turn[_ROTATED["chest"], 2] -= rng.uniform(0.0, 0.5)
        turn[_ROTATED["neck"], 2] += rng.uniform(-0.2, 0.6)
        crouch = rng.uniform(0, 1.8) * rng.uniform(0, 1)
    lifted = rng.choice(np.array(["left", "right"])) if pose == "balancing" else ""
    if lifted:
        turn[_ROTATED["root"], 0] += rng.normal(0, 0.3)
        pitch = float(np.clip(rng.normal(0.1, 0.4), -0.3, 1.2))
        turn[_ROTATED["root"], 2] -= pitch
    for side, out in (("left", 1.0), ("right", -1.0)):
        if pose == "sitting":
            swing, knee = rng.normal(1.45, 0.12), rng.normal(-1.5, 0.2)
        elif pose == "bending":
            swing, knee = pitch + 0.5 * crouch + rng.normal(0, 0.1), -crouch - abs(rng.normal(0.05, 0.1))
        elif side == lifted:  # ahead with a bent knee, behind, or to the side
            swing, knee = pitch + rng.uniform(-1.0, 1.7), -abs(rng.normal(0.3, 0.6))
        elif rng.random() < 0.25:  # a relaxed or stepping leg
            swing, knee = pitch + rng.normal(0.2, 0.25), -abs(rng.normal(0.3, 0.25))
        else:
            swing, knee = pitch + rng.normal(0.02, 0.06), -abs(rng.normal(0.03, 0.05))
        aside = stance + (abs(rng.normal(0, 0.5)) if side == lifted else 0.0)
        turn[_ROTATED[f"{side}_hip"]] = (out * aside, out * rng.normal(0.1, 0.15), swing)
        bend[_BENT[f"{side}_knee"]] = knee
        turn[_ROTATED[f"{side}_ankle"], 2] = 0 if pose == "sitting" else -(swing - pitch + knee) * 0.7
        shoulder, elbow = _arm(rng, out)
        turn[_ROTATED[f"{side}_shoulder"]] = shoulder
        if pose == "bending" and rng.random() < 0.7:  # hanging, or on the way to the ground
            turn[_ROTATED[f"{side}_shoulder"], 2] += pitch
        bend[_BENT[f"{side}_elbow"]] = elbow
    if pose == "astride" and rng.random() < 0.5:  # both arms alike, as in a jumping jack
        raised, elbow = rng.uniform(0.3, 2.9), abs(rng.normal(0.2, 0.3))
        for side, out in (("left", 1.0), ("right", -1.0)):
            turn[_ROTATED[f"{side}_shoulder"]] = (out * (raised + rng.normal(0, 0.1)), 0, rng.normal(0, 0.2))
            bend[_BENT[f"{side}_elbow"]] = elbow
    turn[_ROTATED["chest"], 2] -= abs(rng.normal(0, 0.08))
    return turn, bend


def _arm(rng: np.random.Generator, out: float) -> tuple[tuple[float, float, float], float]:
    """Shoulder (rotation vector) and elbow (angle) of an arm on the side `out`."""
    kind = rng.random()
    if kind < 0.5:  # hanging
        return (out * abs(rng.normal(0.12, 0.1)), rng.normal(0, 0.2), rng.normal(0.0, 0.15)), abs(rng.normal(0.2, 0.2))
    if kind < 0.65:  # before the body: a phone, a cup, folded hands
        twist = -out * rng.uniform(0.0, 0.8)
        return (out * abs(rng.normal(0.15, 0.1)), twist, rng.uniform(0.1, 0.9)), rng.uniform(1.0, 2.2)
    if kind < 0.75:  # a hand at the hip
        return (out * rng.uniform(0.4, 0.8), out * rng.uniform(0.2, 0.7), rng.uniform(-0.4, 0.1)), rng.uniform(1.2, 1.8)
    if kind < 0.87:  # raised: pointing, waving, reaching
        return (out * rng.uniform(0.0, 1.2), rng.normal(0, 0.3), rng.uniform(0.8, 2.7)), abs(rng.normal(0.3, 0.4))
    return (out * rng.uniform(0.7, 2.6), rng.normal(0, 0.3), rng.uniform(-0.2, 0.5)), abs(rng.normal(0.3, 0.5))
