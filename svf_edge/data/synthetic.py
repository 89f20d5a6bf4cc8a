"""Synthetic pose clips: real motion capture on random people, in front of random scenes and cameras."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from svf_edge.data import mocap
from svf_edge.data.background import draw_background, random_colour
from svf_edge.data.mocap import MotionClip
from svf_edge.data.person import build_parts, random_person, to_capsules
from svf_edge.data.render import Camera, Light, rasterise
from svf_edge.data.sample import PoseSample
from svf_edge.data.skeleton import FLIP_ORDER, JOINT_NAMES
from svf_edge.errors import UnsupportedInput

Array = NDArray[np.float32]

GENERATOR_VERSION: Final[int] = 1
"""Part of every cache's identity; raised whenever the same seed would give other bytes."""

SPLITS: Final[tuple[str, ...]] = ("train", "val")


class Clip(NamedTuple):
    """A rendered clip as numpy arrays; the fields are those of PoseSample."""

    frames: NDArray[np.uint8]
    joints: Array
    visible: NDArray[np.bool_]
    joints3d: Array
    motion: int


class SyntheticPoseDataset(Dataset[PoseSample]):
    """`length` clips of `frames` frames of `size` (height, width); item i depends on (split, seed, i) alone.

    "train" varies the captured motions (joint offsets, the upper body of one with the legs of another); "val"
    plays motions that training never sees, as they were captured. Raises UnsupportedInput for bad arguments.
    """

    def __init__(
        self, split: str, length: int, frames: int = 4, size: tuple[int, int] = (64, 64), seed: int = 0
    ) -> None:
        if split not in SPLITS:
            raise UnsupportedInput(f"data split '{split}' does not exist; use one of {', '.join(SPLITS)}")
        if length < 1 or frames < 1 or min(size) < 8:
            raise UnsupportedInput(
                f"synthetic data needs length >= 1, frames >= 1 and a size of at least 8x8, not "
                f"length {length}, frames {frames}, size {size[0]}x{size[1]}"
            )
        self.split, self.length, self.frames, self.size, self.seed = split, length, frames, size, seed
        self.motions = mocap.split_motions(split)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> PoseSample:
        if not 0 <= index < self.length:
            raise IndexError(index)
        clip = self.render(index)
        return PoseSample(
            frames=torch.from_numpy(clip.frames),
            joints=torch.from_numpy(clip.joints),
            visible=torch.from_numpy(clip.visible),
            joints3d=torch.from_numpy(clip.joints3d),
            motion=torch.tensor(clip.motion),
        )

    def render(self, index: int) -> Clip:
        """Clip `index` as numpy arrays."""
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), index])
        return render_clip(rng, self.motions, self.frames, self.size, vary=self.split == "train")


def render_clip(
    rng: np.random.Generator,
    motions: tuple[MotionClip, ...],
    frames: int,
    size: tuple[int, int],
    vary: bool,
) -> Clip:
    """One random clip of one of `motions`; `vary` also changes the motion itself."""
    person = random_person(rng)
    root, rotations, motion = _random_motion(rng, motions, frames, vary)
    body = mocap.forward_kinematics(root, rotations, person.proportions)
    mirrored = bool(rng.integers(2))
    view = _random_view(rng, mirrored)
    distance = float(np.exp(rng.uniform(np.log(2.2), np.log(9))))

    middle = root.mean(axis=0)
    translation = np.broadcast_to(np.array([0, 0, distance], dtype=np.float32) - view @ middle, (frames, 3))
    joints3d = np.stack([body.points[name] for name in JOINT_NAMES], axis=1) @ view.T + translation[:, None]
    if mirrored:
        joints3d = joints3d[:, FLIP_ORDER]
    camera, shift = _random_framing(rng, joints3d, distance, size)
    joints = camera.project(joints3d)

    capsules = to_capsules(build_parts(person, body), view, translation)
    layer = rasterise(capsules, camera, _random_light(rng), person.pattern, size)
    scene = _scene(rng, size, shift)
    ground = root.copy()
    ground[:, 1] = min(float(body.points[f"{side}_toe"][:, 1].min()) for side in ("left", "right"))
    scene *= _shadow(rng, camera, ground @ view.T + translation, view, size)[..., None]
    image = layer.over(scene)
    hidden = _draw_foreground(rng, image, joints)

    inside = np.all((joints >= 0) & (joints < np.array([size[1], size[0]])), axis=-1)
    return Clip(_expose(rng, image), joints, inside & ~hidden, joints3d.astype(np.float32), motion)


def _random_motion(
    rng: np.random.Generator, motions: tuple[MotionClip, ...], frames: int, vary: bool
) -> tuple[Array, dict[str, Array], int]:
    """Root positions [T, 3], link rotations and motion index of a random stretch at 12 to 30 frames a second."""
    step = rng.uniform(0.7, 1.3) / rng.uniform(12, 30)

    def stretch(motion: MotionClip) -> Array:
        span = step * (frames - 1)
        start = rng.uniform(0, motion.duration if motion.loop else max(motion.duration - span, 0))
        return motion.sample(start + step * np.arange(frames, dtype=np.float64))

    shares = np.array([0.5 if m.name in mocap.FLOOR_MOTIONS else 1.0 for m in motions])
    chosen = motions[rng.choice(len(motions), p=shares / shares.sum())]
    poses = stretch(chosen)
    motion = mocap.MOTION_NAMES.index(chosen.name)
    rotations = mocap.local_rotations(poses)
    if not vary:
        return poses[:, :3], rotations, motion
    if rng.random() < 0.35:
        other = mocap.local_rotations(stretch(motions[rng.integers(len(motions))]))
        rotations |= {name: other[name] for name in mocap.UPPER_BODY}
    strength = rng.choice([0.1, 0.25, 0.5], p=[0.4, 0.4, 0.2])
    names = [n for n in mocap.SPHERICAL if n != "root"]
    offset = rng.normal(0, strength, (len(names), 1, 3))
    sway = rng.normal(0, 0.3 * strength, (len(names), 1, 3))
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.uniform(0.3, 1.5) * step * np.arange(frames)
    turns = mocap.rotation_vector_matrix((offset + sway * np.sin(phase)[:, None]).astype(np.float32))
    for name, turn in zip(names, turns, strict=True):
        reach = 1.8 if "shoulder" in name and strength > 0.4 else 1.0
        rotations[name] = rotations[name] @ (turn if reach == 1.0 else turn @ turn)
    for name in mocap.HINGES:  # knees only bend back, elbows only forward
        bend = abs(rng.normal(0, strength)) * (-1 if "knee" in name else 1)
        rotations[name] = rotations[name] @ mocap.hinge_matrix(np.full(frames, bend, dtype=np.float32))
    return poses[:, :3], rotations, motion


def _random_view(rng: np.random.Generator, mirrored: bool) -> Array:
    """Rows right, down, forward [3, 3] of a camera near eye level; a reflection if `mirrored`."""
    yaw = rng.uniform(0, 2 * np.pi)
    pitch = np.clip(rng.normal(0.12, 0.2), -0.3, 0.8)
    roll = np.clip(rng.normal(0, 0.08), -0.25, 0.25)
    forward = np.array([np.cos(pitch) * np.cos(yaw), -np.sin(pitch), np.cos(pitch) * np.sin(yaw)])
    right = np.array([-np.sin(yaw), 0.0, np.cos(yaw)])
    down = np.cross(forward, right)
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    return np.stack([-right if mirrored else right, down, forward]).astype(np.float32)


def _random_framing(
    rng: np.random.Generator, joints: Array, distance: float, size: tuple[int, int]
) -> tuple[Camera, Array]:
    """A camera that shows camera-space `joints` [T, J, 3] at a random scale and place; its shifts [T, 2] px."""
    plane = Camera(1.0, np.zeros((len(joints), 2), dtype=np.float32)).project(joints)
    follow = float(np.clip(rng.uniform(-0.5, 1.5), 0, 1))
    path = plane.mean(axis=1)
    drift = follow * (path - path.mean(axis=0))
    steady = plane - drift[:, None]
    low, high = steady.min(axis=(0, 1)), steady.max(axis=(0, 1))
    extent = max(float((high - low).max()), 1.1 / distance)
    side = min(size)
    focal = side * rng.uniform(0.5, 0.98) / extent
    jitter = np.cumsum(rng.normal(0, rng.choice([0.0, 0.006]) * side, (len(joints), 2)), axis=0)
    shift = jitter - drift * focal
    place = np.array([size[1], size[0]]) / 2 + np.clip(rng.normal(0, 0.07, 2), -0.2, 0.2) * side
    centre = place - (low + high) / 2 * focal + shift
    return Camera(float(focal), centre.astype(np.float32)), shift.astype(np.float32)


def _random_light(rng: np.random.Generator) -> Light:
    toward = np.array([rng.uniform(-1, 1), rng.uniform(-1, 0.1), rng.uniform(-1, 0.3)])
    tint = 1 + rng.uniform(-0.08, 0.08, 3)
    ambient = rng.uniform(0.3, 0.75)
    return Light(
        direction=(toward / np.linalg.norm(toward)).astype(np.float32),
        ambient=(ambient * tint).astype(np.float32),
        diffuse=(rng.uniform(0.9, 1.3) - ambient) * np.ones(3, dtype=np.float32),
    )


def _scene(rng: np.random.Generator, size: tuple[int, int], shift: Array) -> Array:
    """Background frames [T, H, W, 3], moving by whole pixels with the camera's `shift` [T, 2]."""
    whole = np.rint(shift - shift.min(axis=0)).astype(int)
    margin = np.minimum(whole.max(axis=0), np.array([size[1], size[0]]))
    whole = margin - np.minimum(whole, margin)
    wide = draw_background(rng, (size[0] + int(margin[1]), size[1] + int(margin[0])))
    return np.stack([wide[y : y + size[0], x : x + size[1]] for x, y in whole])


def _shadow(rng: np.random.Generator, camera: Camera, ground: Array, view: Array, size: tuple[int, int]) -> Array:
    """Factors [T, H, W] of a soft shadow around the camera-space points `ground` [T, 3]."""
    (cx, cy) = camera.project(ground[:, None])[:, 0].T
    scale = camera.focal / np.maximum(ground[:, 2], 0.3)
    across = 0.45 * scale
    along = np.maximum(across * abs(float(view[2, 1])), 0.06 * scale)
    x = (np.arange(size[1], dtype=np.float32) + 0.5 - cx[:, None]) / across[:, None]
    y = (np.arange(size[0], dtype=np.float32) + 0.5 - cy[:, None]) / along[:, None]
    depth = np.float32(rng.uniform(0, 0.6))
    fade = 1 - (y * y)[:, :, None] - (x * x)[:, None, :]
    return np.asarray(1 - depth * np.clip(fade, 0, 1), dtype=np.float32)


def _draw_foreground(rng: np.random.Generator, image: Array, joints: Array) -> NDArray[np.bool_]:
    """Sometimes puts a box before the person, in place; returns which joints [T, J] it hides."""
    height, width = image.shape[1:3]
    if rng.random() > 0.12:
        return np.zeros(joints.shape[:2], dtype=bool)
    low = rng.uniform(0, 1, 2) * (width, height)
    high = low + rng.uniform(0.1, 0.4, 2) * (width, height)
    x0, y0 = low.astype(int)
    x1, y1 = np.minimum(np.ceil(high), (width, height)).astype(int)
    image[:, y0:y1, x0:x1] = random_colour(rng) * np.linspace(0.8, 1, x1 - x0, dtype=np.float32)[:, None]
    return np.asarray(np.all((joints >= (x0, y0)) & (joints < (x1, y1)), axis=-1))


def _expose(rng: np.random.Generator, image: Array) -> NDArray[np.uint8]:
    """Contrast, gamma, white balance, a little blur and sensor noise; uint8 [T, 3, H, W]."""
    image = np.ascontiguousarray(np.moveaxis(image, -1, 1))
    np.clip(image, 0, 1.5, out=image)
    if rng.random() < 0.3:
        image[..., 1:] += image[..., :-1]
        image[..., 1:] *= 0.5
    if rng.random() < 0.3:
        image[..., 1:, :] += image[..., :-1, :]
        image[..., 1:, :] *= 0.5
    gain = rng.uniform(0.75, 1.2) * (1 + rng.uniform(-0.08, 0.08, 3))
    haze = rng.uniform(0, 0.12)
    image = (image * gain[:, None, None].astype(np.float32) + np.float32(haze)) * np.float32(255)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, 6))
    return np.clip(image, 0, 255).astype(np.uint8)
