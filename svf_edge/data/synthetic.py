"""Synthetic clips: real motion capture on random people, in front of random scenes and cameras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from svf_edge.data import mocap
from svf_edge.data.background import draw_background, photograph, random_colour
from svf_edge.data.framing import random_framing
from svf_edge.data.mocap import Body, MotionClip
from svf_edge.data.motion import Motion, Times, named_motion, random_motion, random_step
from svf_edge.data.person import Person, build_parts, random_person, to_capsules
from svf_edge.data.render import Camera, Capsules, Light, join_capsules, rasterise
from svf_edge.data.sample import UNKNOWN_PIXEL, Sample
from svf_edge.data.sensor import expose
from svf_edge.data.skeleton import FLIP_ORDER, JOINT_NAMES
from svf_edge.errors import UnsupportedInput

Array = NDArray[np.float32]
Motions = Literal["split", "classes"]

GENERATOR_VERSION: Final[int] = 3
"""Part of every cache's identity; raised whenever the same seed would give other bytes."""

BLURRED_SHARE: Final[float] = 0.12
COMPANY_SHARE: Final[float] = 0.15
OBJECT_SHARE: Final[float] = 0.15
"""Shares of clips with motion blur, a second person, and something before the person."""

SPLITS: Final[tuple[str, ...]] = ("train", "val")


class Clip(NamedTuple):
    """A rendered clip as numpy arrays; the fields are those of Sample."""

    frames: NDArray[np.uint8]
    joints: Array
    visible: NDArray[np.bool_]
    joints3d: Array
    label: int
    mask: NDArray[np.uint8]

    def sample(self) -> Sample:
        """The same as tensors, which share memory with the arrays."""
        return Sample(
            frames=torch.from_numpy(self.frames),
            joints=torch.from_numpy(self.joints),
            visible=torch.from_numpy(self.visible),
            joints3d=torch.from_numpy(self.joints3d),
            label=torch.tensor(self.label),
            mask=torch.from_numpy(self.mask),
        )


class SyntheticPoseDataset(Dataset[Sample]):
    """`length` clips of `frames` frames of `size` (height, width); item i depends on (split, seed, i) alone.

    With `motions` "split", "train" varies and blends the captured motions and adds everyday poses, and "val" plays
    motions that training never sees, as they were captured. With "classes" both splits play all motions equally often,
    each under its name, and differ in people, cameras, scenes and the stretches they show; "train" varies the motion.
    Raises UnsupportedInput for bad arguments.
    """

    def __init__(
        self,
        split: str,
        length: int,
        frames: int = 4,
        size: tuple[int, int] = (64, 64),
        seed: int = 0,
        motions: Motions = "split",
    ) -> None:
        if split not in SPLITS:
            raise UnsupportedInput(f"data split '{split}' does not exist; use one of {', '.join(SPLITS)}")
        if length < 1 or frames < 1 or min(size) < 8:
            raise UnsupportedInput(
                f"synthetic data needs length >= 1, frames >= 1 and a size of at least 8x8, not "
                f"length {length}, frames {frames}, size {size[0]}x{size[1]}"
            )
        self.split, self.length, self.frames, self.size, self.seed = split, length, frames, size, seed
        self.kind: Motions = motions
        self.motions = mocap.load_motions() if motions == "classes" else mocap.split_motions(split)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(index)
        return self.render(index).sample()

    def render(self, index: int) -> Clip:
        """Clip `index` as numpy arrays."""
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), index])
        vary = self.split == "train"
        draw = (named_motion if self.kind == "classes" else random_motion)(rng, self.motions, vary)
        return render_clip(rng, draw, self.motions, self.frames, self.size)


def render_clip(
    rng: np.random.Generator,
    draw: Callable[[Times], Motion],
    motions: tuple[MotionClip, ...],
    frames: int,
    size: tuple[int, int],
) -> Clip:
    """One random clip of what `draw` gives for the times of its pictures; company does one of `motions`."""
    step = random_step(rng)
    exposures = 2 if rng.random() < BLURRED_SHARE else 1
    shutter = min(0.5 * step, 0.02) if exposures == 2 else 0.0
    # A blurred frame is the mean of two pictures, half a shutter time before and after it.
    around = np.array([-0.5, 0.5]) * shutter if exposures == 2 else np.zeros(1)
    times = np.add.outer(step * np.arange(frames), around).reshape(-1)
    person = random_person(rng)
    motion = draw(times)
    body = mocap.forward_kinematics(motion.root, motion.rotations, person.proportions)
    mirrored = bool(rng.integers(2))
    pitch, roll = float(np.clip(rng.normal(0.12, 0.2), -0.3, 0.8)), float(np.clip(rng.normal(0, 0.08), -0.25, 0.25))
    view = _view(rng.uniform(0, 2 * np.pi), pitch, roll, mirrored)
    distance = float(np.exp(rng.uniform(np.log(2.2), np.log(9))))

    translation = np.array([0, 0, distance], dtype=np.float32) - view @ motion.root.mean(axis=0)
    joints3d = np.stack([body.points[name] for name in JOINT_NAMES], axis=1) @ view.T + translation
    if mirrored:
        joints3d = joints3d[:, FLIP_ORDER]
    camera, shift = random_framing(rng, joints3d, distance, size)
    joints = camera.project(joints3d)

    image = _scene(rng, size, shift, pitch, roll)
    _cast_shadow(rng, image, camera, body, motion, view, translation)
    people = [to_capsules(build_parts(person, body), view, np.broadcast_to(translation, (len(times), 3)))]
    patterns = [person.pattern]
    if rng.random() < COMPANY_SHARE:
        other, their = _someone_else(rng, motions, times, view, translation, motion)
        people.append(other)
        patterns.append(their.pattern)
    capsules = join_capsules(people)
    layer = rasterise(capsules, camera, _random_light(rng), np.stack(patterns), size)
    layer.draw(image)
    owners = layer.parts()
    mask = np.append(capsules.label, np.uint8(0))[owners]  # -1, where there is no capsule, is the last
    hidden: NDArray[np.bool_] = np.zeros(joints.shape[:2], dtype=bool)
    if len(people) > 1:
        hidden = _behind_others(owners, len(people[0]), joints)
    if rng.random() < OBJECT_SHARE:
        hidden |= _draw_object(rng, image, mask, joints, shift)

    if exposures == 2:
        image = image.reshape(frames, 2, *image.shape[1:]).mean(axis=1)
        joints, joints3d = (x.reshape(frames, 2, *x.shape[1:]).mean(axis=1) for x in (joints, joints3d))
        hidden = np.asarray(hidden.reshape(frames, 2, -1).all(axis=1))
        before, after = np.moveaxis(mask.reshape(frames, 2, *size), 1, 0)
        mask = np.where(before == after, before, np.uint8(UNKNOWN_PIXEL))
    inside = np.all((joints >= 0) & (joints < np.array([size[1], size[0]])), axis=-1)
    return Clip(expose(rng, image), joints, inside & ~hidden, joints3d.astype(np.float32), motion.label, mask)


def _view(yaw: float, pitch: float, roll: float, mirrored: bool) -> Array:
    """Rows right, down, forward [3, 3] of a camera that looks down by `pitch`; a reflection if `mirrored`."""
    forward = np.array([np.cos(pitch) * np.cos(yaw), -np.sin(pitch), np.cos(pitch) * np.sin(yaw)])
    right = np.array([-np.sin(yaw), 0.0, np.cos(yaw)])
    down = np.cross(forward, right)
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    return np.stack([-right if mirrored else right, down, forward]).astype(np.float32)


def _someone_else(
    rng: np.random.Generator,
    motions: tuple[MotionClip, ...],
    times: NDArray[np.float64],
    view: Array,
    translation: Array,
    motion: Motion,
) -> tuple[Capsules, Person]:
    """A second person on the same ground, mostly behind the first and to a side, seldom before them."""
    person = random_person(rng)
    theirs = random_motion(rng, motions, vary=True)(times)
    body = mocap.forward_kinematics(theirs.root, theirs.rotations, person.proportions)
    right, away = view[0].copy(), view[2].copy()
    right[1] = away[1] = 0  # along the ground
    ahead = -rng.uniform(0.4, 0.8) if rng.random() < 0.12 else rng.uniform(0.5, 4.0)
    aside = rng.choice(np.array([-1.0, 1.0])) * rng.uniform(0.35, 1.2) * (1 + max(ahead, 0) * 0.25)
    place = motion.root.mean(axis=0) + right * aside + away * ahead - theirs.root.mean(axis=0)
    place[1] = 0
    moved = translation + view @ place.astype(np.float32)
    return to_capsules(build_parts(person, body), view, np.broadcast_to(moved, (len(times), 3))), person


def _behind_others(parts: NDArray[np.int16], own: int, joints: Array) -> NDArray[np.bool_]:
    """Which joints [T, J] lie behind a part of another person (index `own` or above)."""
    frames, height, width = parts.shape
    x = np.clip(joints[..., 0].astype(np.int64), 0, width - 1)
    y = np.clip(joints[..., 1].astype(np.int64), 0, height - 1)
    return np.asarray(parts[np.arange(frames)[:, None], y, x] >= own)


def _random_light(rng: np.random.Generator) -> Light:
    toward = np.array([rng.uniform(-1, 1), rng.uniform(-1, 0.1), rng.uniform(-1, 0.3)])
    tint = 1 + rng.uniform(-0.08, 0.08, 3)
    ambient = rng.uniform(0.3, 0.75)
    return Light(
        direction=(toward / np.linalg.norm(toward)).astype(np.float32),
        ambient=(ambient * tint).astype(np.float32),
        diffuse=(rng.uniform(0.9, 1.3) - ambient) * np.ones(3, dtype=np.float32),
    )


def _scene(rng: np.random.Generator, size: tuple[int, int], shift: Array, pitch: float, roll: float) -> Array:
    """Background frames [T, H, W, 3], moving by whole pixels with the camera's `shift` [T, 2]."""
    whole = np.rint(shift - shift.min(axis=0)).astype(int)
    margin = np.minimum(whole.max(axis=0), np.array([size[1], size[0]]))
    whole = margin - np.minimum(whole, margin)
    wide = draw_background(rng, (size[0] + int(margin[1]), size[1] + int(margin[0])), pitch, roll)
    return np.stack([wide[y : y + size[0], x : x + size[1]] for x, y in whole])


def _cast_shadow(
    rng: np.random.Generator, image: Array, camera: Camera, body: Body, motion: Motion, view: Array, translation: Array
) -> None:
    """Darkens the ground around the feet, softly and in place."""
    depth = rng.uniform(0, 0.6)
    ground = motion.root.copy()
    ground[:, 1] = min(float(body.points[f"{side}_toe"][:, 1].min()) for side in ("left", "right"))
    spot = ground @ view.T + translation
    height, width = image.shape[1:3]
    scale = camera.focal / np.maximum(spot[:, 2], 0.3)
    for frame, (cx, cy) in enumerate(camera.project(spot[:, None])[:, 0]):
        across = 0.45 * scale[frame]
        along = max(across * abs(float(view[2, 1])), 0.06 * scale[frame])
        x0, x1 = (int(np.clip(v, 0, width)) for v in (cx - across, cx + across + 1))
        y0, y1 = (int(np.clip(v, 0, height)) for v in (cy - along, cy + along + 1))
        x = (np.arange(x0, x1, dtype=np.float32) + np.float32(0.5) - cx) / across
        y = (np.arange(y0, y1, dtype=np.float32) + np.float32(0.5) - cy) / along
        fade = np.maximum(1 - (y * y)[:, None] - x * x, 0)
        image[frame, y0:y1, x0:x1] *= (1 - np.float32(depth) * fade)[..., None]


def _draw_object(
    rng: np.random.Generator, image: Array, mask: NDArray[np.uint8], joints: Array, shift: Array
) -> NDArray[np.bool_]:
    """Puts a box, a pole or a piece of furniture before the person, in place; which joints [T, J] it hides."""
    height, width = image.shape[1:3]
    kind = rng.random()
    if kind < 0.4:  # a pole or trunk from top to bottom
        w, h = max(int(rng.uniform(0.02, 0.12) * width), 1), height
        x, y = int(rng.uniform(0, 1) * width), 0
    else:
        w, h = (max(int(v), 1) for v in rng.uniform(0.1, 0.4, 2) * (width, height))
        x = int(rng.uniform(-0.1, 1) * width)
        y = height - h if kind < 0.7 else int(rng.uniform(0, 1) * height)  # on the ground, or anywhere
    if rng.random() < 0.5:
        patch = photograph(rng, (h, w), 0.0, 0.0)
    else:
        patch = random_colour(rng) * np.linspace(0.75, 1, w, dtype=np.float32)[:, None] * np.ones((h, 1, 1), np.float32)
    hidden = np.zeros(joints.shape[:2], dtype=bool)
    for frame, (dx, dy) in enumerate(np.rint(1.2 * (shift - shift[0])).astype(int)):
        x0, y0 = max(x + dx, 0), max(y + dy, 0)
        x1, y1 = max(min(x + dx + w, width), x0), max(min(y + dy + h, height), y0)
        image[frame, y0:y1, x0:x1] = patch[y0 - y - dy : y1 - y - dy, x0 - x - dx : x1 - x - dx]
        mask[frame, y0:y1, x0:x1] = 0
        hidden[frame] = np.all((joints[frame] >= (x0, y0)) & (joints[frame] < (x1, y1)), axis=-1)
    return hidden
