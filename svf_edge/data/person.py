"""A random person: body shape, skin, hair and clothes, and the capsules that draw one in a pose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from svf_edge.data.background import random_colour
from svf_edge.data.mocap import Body, Proportions
from svf_edge.data.render import TEXTURE_SIZE, Capsules

Array = NDArray[np.float32]

_SKIN_TONES: Final = np.array(
    [[0.96, 0.80, 0.69], [0.90, 0.71, 0.57], [0.78, 0.57, 0.43], [0.60, 0.41, 0.29], [0.40, 0.26, 0.19]]
)
_HAIR_TONES: Final = np.array(
    [[0.08, 0.07, 0.06], [0.25, 0.16, 0.10], [0.45, 0.30, 0.18], [0.75, 0.62, 0.40], [0.6, 0.6, 0.6]]
)

PART_CLASSES: Final[tuple[str, ...]] = (
    "background",
    "head",
    "torso",
    "upper_arm",
    "lower_arm",
    "upper_leg",
    "lower_leg",
)
"""Classes of pixels. Left and right are one, so that a mirrored clip keeps its labels; a bag is background."""

_CAPSULES: Final = {
    "head": ("neck", "head", "nose", "hair", "hat", "brim"),
    "torso": ("pelvis", "waist", "shoulders", "flank"),
    "upper_arm": ("upper_arm",),
    "lower_arm": ("forearm", "hand"),
    "upper_leg": ("thigh", "skirt"),
    "lower_leg": ("shin", "foot"),
    "background": ("bag",),
}
"""Capsules by class, without their side."""

_NEVER: Final = 9.0
"""A threshold no point reaches: the part has its first colour only."""

_BARE_SHARE: Final = 0.14
_BAREFOOT_SHARE: Final = (0.08, 0.6)
"""Shares of people without a shirt, and without shoes among the dressed and the bare."""


@dataclass(frozen=True)
class Person:
    """What of a person does not change within a clip. Colours [3] are RGB 0..1, sizes are factors."""

    proportions: Proportions
    girth: float
    sleeve: float  # the shirt covers this much of the arm: 0 none, 1 to the elbow, 2 to the wrist
    trousers: float  # same for the leg
    bagginess: float
    hair_line: float
    hair_length: float
    hat: float  # width of a brim; 0 none, negative a woollen cap
    skirt: float  # reaches this far from hip to ankle; 0 none
    bag: float  # size of what hangs on the back; 0 none
    open_jacket: float
    skin: Array
    hair: Array
    shirt: Array
    jacket_lining: Array
    legwear: Array
    shoes: Array
    hat_colour: Array
    bag_colour: Array
    pattern: Array
    shirt_pattern: Array  # strength [3] of the pattern in each colour
    legwear_pattern: Array


def random_person(rng: np.random.Generator) -> Person:
    """Draws a person; the same generator state gives the same person."""

    def around(spread: float) -> float:
        return float(np.clip(1 + spread * rng.standard_normal(), 1 - 2.5 * spread, 1 + 2.5 * spread))

    tone = rng.uniform(0, len(_SKIN_TONES) - 1)
    skin = _SKIN_TONES[int(tone)] * (1 - tone % 1) + _SKIN_TONES[int(tone) + 1] * (tone % 1)
    hair = _HAIR_TONES[rng.integers(len(_HAIR_TONES))]
    skin = (skin * rng.uniform(0.85, 1.1)).astype(np.float32)
    bare = rng.random() < _BARE_SHARE
    barefoot = rng.random() < _BAREFOOT_SHARE[bare]
    shirt = skin if bare else random_colour(rng, 0.45)
    legwear = shirt if rng.random() < 0.1 and not bare else random_colour(rng, 0.25)
    return Person(
        proportions=Proportions(
            torso=around(0.06),
            arm=around(0.06),
            leg=around(0.07),
            shoulders=around(0.08),
            hips=around(0.1),
            head=around(0.06),
        ),
        girth=around(0.13),
        sleeve=0.0 if bare else _choice(rng, (0.0, 0.45, 0.9, 2.0), (0.1, 0.45, 0.55)),
        trousers=_choice(rng, (0.3, 0.9, 1.5, 2.0), (0.25, 0.6, 0.65) if bare else (0.1, 0.3, 0.4)),
        bagginess=float(rng.uniform(0.95, 1.3)),
        hair_line=float(rng.uniform(-0.25, 0.45)),
        hair_length=float(rng.uniform(0.05, 0.3)) if rng.random() < 0.4 else 0.0,
        hat=float(rng.choice(np.array([-1.0, 0.1, 0.14]))) if rng.random() < 0.2 else 0.0,
        skirt=float(rng.uniform(0.2, 0.45)) if rng.random() < 0.1 else 0.0,
        bag=float(rng.uniform(0.07, 0.13)) if rng.random() < 0.1 else 0.0,
        open_jacket=float(rng.uniform(0.75, 0.95)) if rng.random() < 0.2 and not bare else _NEVER,
        skin=skin,
        hair=(hair * rng.uniform(0.7, 1.2)).astype(np.float32),
        shirt=shirt,
        jacket_lining=random_colour(rng, 0.2),
        legwear=legwear,
        shoes=skin if barefoot else random_colour(rng, 0.15),
        hat_colour=random_colour(rng, 0.4),
        bag_colour=random_colour(rng, 0.3),
        pattern=_random_pattern(rng),
        shirt_pattern=_pattern_strength(rng) * np.float32(0.2 if bare else 1.0),
        legwear_pattern=_pattern_strength(rng) * np.float32(0.3),
    )


def _choice(rng: np.random.Generator, values: tuple[float, ...], limits: tuple[float, ...]) -> float:
    """One of `values`; `limits` are the cumulative shares of all but the last."""
    return values[int(np.searchsorted(limits, rng.random()))]


def _random_pattern(rng: np.random.Generator) -> Array:
    """Stripes along or across, checks, a print on the front, or the unevenness of cloth; [16, 16] in -1..1."""
    wave = np.sign(np.sin((np.arange(TEXTURE_SIZE) + 0.5) * 2 * np.pi / rng.choice(np.array([2, 4, 8, 16]))))
    kind = rng.random()
    if kind < 0.45:
        pattern = rng.uniform(-1, 1, (TEXTURE_SIZE, TEXTURE_SIZE))
    elif kind < 0.6:
        pattern = np.broadcast_to(wave[:, None], (TEXTURE_SIZE, TEXTURE_SIZE))
    elif kind < 0.7:
        pattern = np.broadcast_to(wave, (TEXTURE_SIZE, TEXTURE_SIZE))
    elif kind < 0.8:
        pattern = np.maximum.outer(wave, wave)
    else:
        pattern = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE))
        top, left = rng.integers(2, 8, 2)
        pattern[top : top + rng.integers(2, 7), left : left + rng.integers(2, 7)] = rng.choice(np.array([-1.0, 1.0]))
    return np.asarray(pattern, dtype=np.float32)


def _pattern_strength(rng: np.random.Generator) -> Array:
    strength = (0.05, 0.15, 0.45)[int(rng.integers(3))]
    return (strength * (1 + rng.uniform(-0.5, 0.5, 3))).astype(np.float32)


@dataclass(frozen=True)
class _Part:
    """One capsule: end points (world, [T, 3]), radii (metres), two colours and the rule between them."""

    start: Array
    end: Array
    radii: tuple[float, float]
    colours: tuple[Array, Array]
    threshold: float = _NEVER
    slope: float = 0.0
    facing: Array | None = None
    texture: Array | None = None


def build_parts(person: Person, body: Body) -> dict[str, _Part]:
    """The capsules of `person` in the pose of `body`, by name, in world space."""
    points, girth = body.points, person.girth
    cloth = person.shirt_pattern

    def at(origin: str, frame: Array, x: float, y: float, z: float) -> Array:
        return np.asarray(points[origin] + frame @ np.array([x, y, z], dtype=np.float32), dtype=np.float32)

    lower, upper, head = body.pelvis, body.chest, body.head
    tall, broad = person.proportions.torso, person.proportions.shoulders
    front = upper[..., 0]

    def shirt(start: Array, end: Array, radii: tuple[float, float]) -> _Part:
        colours = (person.shirt, person.jacket_lining)
        return _Part(start, end, radii, colours, person.open_jacket, facing=front, texture=cloth)

    skin = (person.skin, person.skin)
    parts = {
        "pelvis": _Part(
            at("root", lower, 0, 0, -0.065 * girth),
            at("root", lower, 0, 0, 0.065 * girth),
            (0.108 * girth, 0.108 * girth),
            (person.legwear, person.legwear),
            texture=person.legwear_pattern,
        ),
        "waist": shirt(at("root", lower, 0, 0.08, 0), points["chest"], (0.115 * girth, 0.115 * girth)),
        "shoulders": shirt(
            at("chest", upper, -0.015, 0.215 * tall, -0.115 * broad),
            at("chest", upper, -0.015, 0.215 * tall, 0.115 * broad),
            (0.07 * girth, 0.07 * girth),
        ),
        "neck": _Part(at("neck", upper, -0.01, -0.04, 0), at("neck", head, 0, 0.10, 0), (0.056 * girth, 0.05), skin),
        "head": _Part(
            at("head", head, 0.015, -0.055, 0),
            at("head", head, 0, 0.03, 0),
            (0.068, 0.092),
            (person.hair, person.skin),
            threshold=person.hair_line,
            facing=np.asarray(head[..., 0] - 0.55 * head[..., 1], dtype=np.float32),
        ),
    }
    parts["nose"] = _Part(at("head", head, 0.085, -0.005, 0), at("head", head, 0.105, -0.03, 0), (0.012, 0.017), skin)
    if person.hair_length > 0:
        parts["hair"] = _Part(
            at("head", head, -0.04, 0.02, 0),
            at("head", head, -0.075, -0.08 - person.hair_length, 0),
            (0.075, 0.045),
            (person.hair, person.hair),
        )
    hat = (person.hat_colour, person.hat_colour)
    if person.hat != 0:
        parts["hat"] = _Part(at("head", head, -0.02, 0.055, 0), at("head", head, -0.005, 0.085, 0), (0.095, 0.08), hat)
    if person.hat > 0:
        parts["brim"] = _Part(
            at("head", head, 0.04, 0.055, 0), at("head", head, 0.04 + person.hat, 0.045, 0), (0.06, 0.03), hat
        )
    if person.bag > 0:
        parts["bag"] = _Part(
            at("root", lower, -0.17, 0.13, 0),
            at("chest", upper, -0.19, 0.13 * tall, 0),
            (person.bag * 1.2, person.bag),
            (person.bag_colour, person.bag_colour),
        )
    if person.skirt > 0:
        reach = 0.5 * (points["left_knee"] + points["right_knee"]) - points["root"]
        parts["skirt"] = _Part(
            points["root"],
            np.asarray(points["root"] + np.float32(2 * person.skirt) * reach, dtype=np.float32),
            (0.115 * girth, 0.115 * girth + 0.08 * person.skirt),
            (person.legwear, person.legwear),
            texture=person.legwear_pattern,
        )
    for side, z in (("left", -1.0), ("right", 1.0)):
        parts[f"{side}_flank"] = shirt(
            at("root", lower, 0, 0.06, 0.05 * z * girth),
            at("chest", upper, 0.005, 0.15 * tall, 0.075 * z * broad),
            (0.098 * girth, 0.108 * girth),
        )
        parts |= _limbs(person, points, side)
    return parts


def _limbs(person: Person, points: Mapping[str, Array], side: str) -> dict[str, _Part]:
    girth, baggy = person.girth, person.bagginess

    def limb(start: str, end: str, radii: tuple[float, float], upper: bool, cover: float) -> _Part:
        fabric, cloth = (person.shirt, person.shirt_pattern) if upper else (person.legwear, person.legwear_pattern)
        loose = girth * (baggy if cover > 0.5 else 1.0)
        return _Part(
            points[f"{side}_{start}"],
            points[f"{side}_{end}"],
            (radii[0] * loose, radii[1] * loose),
            (fabric, person.skin),
            threshold=cover if cover > 0 else -_NEVER,
            slope=1.0,
            texture=cloth if cover > 0.3 else None,
        )

    def whole(start: str, end: str, radii: tuple[float, float], colour: Array) -> _Part:
        return _Part(points[f"{side}_{start}"], points[f"{side}_{end}"], radii, (colour, colour))

    return {
        f"{side}_upper_arm": limb("shoulder", "elbow", (0.056, 0.043), True, person.sleeve),
        f"{side}_forearm": limb("elbow", "wrist", (0.043, 0.031), True, person.sleeve - 1),
        f"{side}_hand": whole("wrist", "hand", (0.036, 0.032), person.skin),
        f"{side}_thigh": limb("hip", "knee", (0.09, 0.06), False, person.trousers),
        f"{side}_shin": limb("knee", "ankle", (0.058, 0.04), False, person.trousers - 1),
        f"{side}_foot": whole("heel", "toe", (0.045, 0.035), person.shoes),
    }


def _part_class(capsule: str) -> int:
    """Index into PART_CLASSES."""
    name = capsule.removeprefix("left_").removeprefix("right_")
    return next(PART_CLASSES.index(part) for part, capsules in _CAPSULES.items() if name in capsules)


def to_capsules(parts: Mapping[str, _Part], rotation: Array, translation: Array) -> Capsules:
    """Moves parts into camera space: `rotation` [3, 3] (rows: right, down, forward), `translation` [T, 3]."""
    items = list(parts.values())
    frames = len(translation)
    turn = rotation.T

    def stack(values: list[Array]) -> Array:
        return np.stack(values, axis=1).astype(np.float32)

    nowhere = np.zeros((frames, 3), dtype=np.float32)
    return Capsules(
        start=stack([p.start for p in items]) @ turn + translation[:, None],
        end=stack([p.end for p in items]) @ turn + translation[:, None],
        start_radius=np.array([p.radii[0] for p in items], dtype=np.float32),
        end_radius=np.array([p.radii[1] for p in items], dtype=np.float32),
        colours=np.stack([np.stack(p.colours) for p in items]).astype(np.float32),
        slope=np.array([p.slope for p in items], dtype=np.float32),
        facing=stack([nowhere if p.facing is None else p.facing for p in items]) @ turn,
        threshold=np.array([p.threshold for p in items], dtype=np.float32),
        texture=np.stack([np.zeros(3, np.float32) if p.texture is None else p.texture for p in items]),
        cloth=np.zeros(len(items), dtype=np.int64),
        label=np.array([_part_class(name) for name in parts], dtype=np.uint8),
    )
