"""The authors' network (Meta-SpikeFormer, and SpikeVideoFormer on top of it) as ours: names, shapes and equations.

Where their arithmetic differs from the usual form here, the configuration takes theirs: neurons behind the mean over
space (`head.pool`), frames normalised by mean and deviation (`frame_offset`). Exact but for float32's last bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.importing.merging import merge_rep_convs
from svf_edge.importing.reading import ForeignState
from svf_edge.importing.source import BLOCKS, DOWN, Source
from svf_edge.model.config import SIZES, ModelConfig, parse_config
from svf_edge.model.layers import norm_affine
from svf_edge.model.network import SpikeVideoFormer

PUBLISHED: Final = ("15M", "31M", "55M")

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""Of pixels from 0 to 1: what the authors' image and video pipelines subtract and divide by."""

_NORM: Final = ("weight", "bias", "running_mean", "running_var")
_PROJECTIONS: Final = {"q_conv": "query", "k_conv": "key", "v_conv": "value"}


@dataclass(frozen=True)
class Choices:
    """What no tensor says about the network.

    `size` None takes the published size that fits; "custom" takes any. `space_time` None is the joint form where
    attention is Hamming, and an error where it is a dot product, which the authors use in two forms. `head` names a
    linear layer by its full name in the file; `new_head` is a kind of head to start untrained instead. A pixel or count
    p enters the authors' network as `(p * unit - mean) / std` per channel, with a unit of 1/255 for pixels.
    """

    frames: int = 4
    frame_size: tuple[int, int] = (224, 224)
    size: str | None = None
    heads: int = 8
    space_time: str | None = None
    head: str | None = None
    new_head: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    merge: bool = False


@dataclass(frozen=True)
class Imported:
    """The float `model`, in eval mode; `unused` names what was left in the file, `notes` tell what was recognised."""

    model: SpikeVideoFormer
    unused: tuple[str, ...]
    notes: tuple[str, ...]


def import_state(state: ForeignState, choices: Choices) -> Imported:
    """The authors' network in `state` as a float model of ours.

    Raises `BadFile` naming the first tensor that is missing, of another shape, not finite or without a place, and
    `UnsupportedInput` for choices that do not fit.
    """
    source = Source(state)
    head, head_notes = _head(source, choices)
    config, notes = _config(source, choices, head)
    model = SpikeVideoFormer(parse_config({**config, "rep_conv": True})).eval()
    taken = _weights(source, model.config, head)
    target = model.state_dict()
    for name, value in target.items():
        if name.endswith("num_batches_tracked"):
            taken[name] = torch.zeros_like(value)
    taken = {name: value for name, value in target.items() if name not in taken and name.startswith("head.")} | taken
    source.nothing_left_inside()
    _fold_input(model.config, choices, taken)
    model.load_state_dict({name: value.to(target[name].dtype) for name, value in taken.items() if name in target})
    if choices.merge:
        model = merge_rep_convs(model)
    return Imported(model.eval(), source.unused(), (*notes, *head_notes))


def _head(source: Source, choices: Choices) -> tuple[str | None, tuple[str, ...]]:
    """The name of the linear layer that is the head, None for a new one, and what to say about it."""
    if choices.head is not None and choices.new_head is not None:
        raise UnsupportedInput("--head and --new-head: give one of them")
    if choices.new_head is not None:
        return None, (f"the {choices.new_head} head is new and untrained",)
    name = choices.head or "head"
    weight = source.find(f"{name}.weight")
    if weight is None or weight.ndim != 2:
        beside = sorted({key.rpartition(".")[0] for key in source.unused() if key.endswith(".weight")} - {""})
        others = [key for key in beside if not key.startswith((*DOWN, "ConvBlock", "block"))]
        held = f" (other layers: {', '.join(others[:8])})" if others else ""
        raise UnsupportedInput(
            f"no linear layer is called '{name}'{held}; name the head with --head, or start an untrained one with "
            "--new-head pose"
        )
    notes = [f"classification head '{name}', neurons behind the mean over space"]
    if name == "head" and source.find("head_kd.weight") is not None:
        notes.append("'head' and the distilled 'head_kd' are averaged, as the authors do it")
    return name, tuple(notes)


def _config(source: Source, choices: Choices, head: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    stem = source.find("downsample1_1.encode_conv.weight")
    assert stem is not None  # the state dict was recognised by it
    widths = []
    for name in DOWN:
        weight = source.find(f"{name}.encode_conv.weight")
        if weight is None or weight.ndim != 4:
            raise BadFile(f"tensor '{name}.encode_conv.weight' is missing or no convolution's")
        widths.append(int(weight.shape[0]))
    embed = tuple(widths[1:])
    size, channels = _size(embed, widths[0], choices.size), int(stem.shape[1])
    counts = [len(source.count(names)) for names in BLOCKS]
    attention, space_time = _attention(source, choices.space_time)
    entries: dict[str, Any] = {
        "size": size,
        "embed": embed,
        "conv_blocks": tuple(counts[:3]),
        "transformer_blocks": tuple(counts[3:]),
        "heads": choices.heads,
        "conv_ratio": _ratio(source, [f"{n}.{i}.conv1.weight" for names in BLOCKS[:3] for n, i in source.count(names)]),
        "mlp_ratio": _ratio(
            source, [f"{n}.{i}.mlp.fc1_conv.weight" for names in BLOCKS[3:] for n, i in source.count(names)]
        ),
        "attention": attention,
        "space_time": space_time,
        "frames": choices.frames,
        "frame_size": choices.frame_size,
        "channels": channels,
        "input": "pixels" if channels == 3 else "events",
    }
    if head is None:
        entries["head"] = {"kind": choices.new_head}
    else:
        weight = source.find(f"{head}.weight")
        assert weight is not None
        entries["head"] = {"kind": "classification", "classes": int(weight.shape[0]), "pool": "membrane"}
    blank = parse_config(entries)
    entries["frame_offset"] = any(constant != 0 for constant in _affine(blank, choices)[1])
    return entries, (f"size {size}, {attention} attention, {space_time}",)


def _size(embed: tuple[int, ...], first: int, asked: str | None) -> str:
    if first * 2 != embed[0]:
        raise BadFile(
            f"tensor 'downsample1_1.encode_conv.weight' has {first} outputs, not half of the next one's {embed[0]}"
        )
    fitting = next((name for name in PUBLISHED if tuple(SIZES[name]["embed"]) == embed), None)
    if asked == "custom" or (fitting is not None and asked in (None, fitting)):
        return fitting or "custom"
    known = ", ".join(f"{name}: {'/'.join(map(str, SIZES[name]['embed']))}" for name in PUBLISHED)
    widths = "/".join(map(str, embed))
    if asked is not None:
        raise UnsupportedInput(f"--size {asked}: the weights have widths {widths} ({known}); leave --size out")
    raise UnsupportedInput(f"widths {widths} are of no published size ({known}); take them with --size custom")


def _ratio(source: Source, names: Sequence[str]) -> int:
    """Outputs of the first tensor in `names` per input; those that differ are refused later, by their shapes."""
    if not names:
        return 4
    weight = source.find(names[0])
    if weight is None or weight.ndim < 2 or not weight.shape[1] or weight.shape[0] % weight.shape[1]:
        raise BadFile(f"tensor '{names[0]}' is missing, or its outputs are no multiple of its inputs")
    return int(weight.shape[0] // weight.shape[1])


def _attention(source: Source, asked: str | None) -> tuple[str, str]:
    blocks = [f"{name}.{place}.attn" for names in BLOCKS[3:] for name, place in source.count(names)]
    normed = [block for block in blocks if source.find(f"{block}.attn_bn.weight") is not None]
    if normed and len(normed) < len(blocks):
        plain = next(block for block in blocks if block not in normed)
        raise BadFile(f"'{normed[0]}.attn_bn' is there and '{plain}.attn_bn' is missing; all blocks have one, or none")
    if normed:
        return "hamming", asked or "joint"
    if asked is None:
        raise UnsupportedInput(
            "attention is a dot product (no tensor is called '...attn_bn.weight'), which the authors use over a frame "
            "and over the whole clip; say --space-time spatial (Meta-SpikeFormer, mode 2D) or joint (mode 3D)"
        )
    return "dot", asked


def _weights(source: Source, config: ModelConfig, head: str | None) -> dict[str, Tensor]:
    """Our state dict but for the head of another kind; nothing is folded yet."""
    e0, e1, e2, e3 = config.embed
    widths = (e0 // 2, e0, e1, e2, e3)
    taken: dict[str, Tensor] = {}

    def norm(ours: str, theirs: str, width: int) -> None:
        for part in _NORM:
            taken[f"{ours}.{part}"] = source.take(f"{theirs}.{part}", width)

    def conv(ours: str, theirs: str, shape: Sequence[int], bias: bool = False) -> None:
        taken[f"{ours}.conv.weight"] = source.take(f"{theirs}.weight", *shape)
        if bias:
            taken[f"{ours}.conv.bias"] = source.take(f"{theirs}.bias", shape[0])

    def rep_conv(ours: str, theirs: str, width: int) -> None:
        conv(f"{ours}.enter", f"{theirs}.0.body.0", (width, width, 1, 1))
        norm(f"{ours}.enter.norms.0", f"{theirs}.0.body.1.bn", width)
        conv(f"{ours}.depthwise", f"{theirs}.0.body.2.0", (width, 1, 3, 3))
        conv(f"{ours}.leave", f"{theirs}.0.body.2.1", (width, width, 1, 1))
        norm(f"{ours}.leave.norms.0", f"{theirs}.0.body.2.2", width)
        norm(f"{ours}.leave.norms.1", f"{theirs}.1", width)

    def conv_block(ours: str, theirs: str, width: int) -> None:
        hidden = config.conv_ratio * width
        conv(f"{ours}.mixer.expand", f"{theirs}.Conv.pwconv1", (2 * width, width, 1, 1))
        norm(f"{ours}.mixer.expand.norms.0", f"{theirs}.Conv.bn1", 2 * width)
        conv(f"{ours}.mixer.depthwise", f"{theirs}.Conv.dwconv", (2 * width, 1, 7, 7))
        conv(f"{ours}.mixer.project", f"{theirs}.Conv.pwconv2", (width, 2 * width, 1, 1))
        norm(f"{ours}.mixer.project.norms.0", f"{theirs}.Conv.bn2", width)
        conv(f"{ours}.conv1", f"{theirs}.conv1", (hidden, width, 3, 3))
        norm(f"{ours}.conv1.norms.0", f"{theirs}.bn1", hidden)
        conv(f"{ours}.conv2", f"{theirs}.conv2", (width, hidden, 3, 3))
        norm(f"{ours}.conv2.norms.0", f"{theirs}.bn2", width)

    def transformer_block(ours: str, theirs: str, width: int) -> None:
        inner, hidden = f"{ours}.attention.attention", config.mlp_ratio * width
        for part, role in _PROJECTIONS.items():
            rep_conv(f"{inner}.{role}", f"{theirs}.attn.{part}", width)
        if config.attention == "hamming":
            norm(f"{inner}.lif.norm", f"{theirs}.attn.attn_bn", width)
        rep_conv(f"{ours}.attention.project", f"{theirs}.attn.proj_conv", width)
        for ours_, number, shape in (("expand", 1, (hidden, width, 1, 1)), ("project", 2, (width, hidden, 1, 1))):
            conv(f"{ours}.mlp.{ours_}", f"{theirs}.mlp.fc{number}_conv", shape, bias=True)
            norm(f"{ours}.mlp.{ours_}.norms.0", f"{theirs}.mlp.fc{number}_bn", shape[0])

    place, inputs = 0, config.channels
    for stage, (down, names, width) in enumerate(zip(DOWN, BLOCKS, widths, strict=True)):
        kernel = 3 if stage else 7
        conv(f"backbone.{place}.conv", f"{down}.encode_conv", (width, inputs, kernel, kernel), bias=True)
        norm(f"backbone.{place}.conv.norms.0", f"{down}.encode_bn", width)
        place, inputs = place + 1, width
        for name, index in source.count(names):
            (conv_block if stage < 3 else transformer_block)(f"backbone.{place}", f"{name}.{index}", width)
            place += 1
    if head is not None:
        layers = [head, "head_kd"] if head == "head" and source.find("head_kd.weight") is not None else [head]
        classes = config.head.classes  # type: ignore[union-attr]  # of the kind that `_config` gave it
        weights = [source.take(f"{layer}.weight", classes, e3, 1, 1) for layer in layers]
        biases = [source.take(f"{layer}.bias", classes) for layer in layers]
        taken["head.score.conv.weight"] = torch.stack(weights).mean(0)
        taken["head.score.conv.bias"] = torch.stack(biases).mean(0)
    return taken


def _affine(config: ModelConfig, choices: Choices) -> tuple[list[float], list[float]]:
    """Per channel `a` and `b` such that the authors' input is `a * x + b` of ours."""
    pixels = config.input == "pixels"
    count = config.channels
    mean = choices.mean or (IMAGENET_MEAN if pixels else (0.0,) * count)
    std = choices.std or (IMAGENET_STD if pixels else (1.0,) * count)
    if len(mean) != count or len(std) != count or min(std) <= 0:
        raise UnsupportedInput(
            f"--mean and --std: {len(mean)} and {len(std)} values for {count} channels; give one each, no deviation 0"
        )
    unit = 1 / 255 if pixels else 1.0
    scale = [unit * 2.0**config.input_exponent / s for s in std]
    constant = [(unit * config.zero_point - m) / s for m, s in zip(mean, std, strict=True)]
    return scale, constant


def _fold_input(config: ModelConfig, choices: Choices, taken: dict[str, Tensor]) -> None:
    """Put the normalisation of frames into the stem; its constant part reads a plane of ones (`frame_offset`)."""
    scale, constant = (torch.tensor(values, dtype=torch.float64) for values in _affine(config, choices))
    stem = "backbone.0.conv"
    weight = taken[f"{stem}.conv.weight"].double()
    scaled, offset = weight * scale[:, None, None], (weight * constant[:, None, None]).sum(1, keepdim=True)
    if config.frame_offset:
        gain, shift = _norm_affine(taken, f"{stem}.norms.0")
        scaled, offset = scaled * gain[:, None, None, None], offset * gain[:, None, None, None]
        taken[f"{stem}.conv.bias"] = taken[f"{stem}.conv.bias"].double() * gain + shift
        taken["backbone.0.offset.conv.weight"] = offset
    taken[f"{stem}.conv.weight"] = scaled


def _norm_affine(taken: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    norm = torch.nn.BatchNorm2d(len(taken[f"{name}.weight"]))
    norm.load_state_dict({part: taken[f"{name}.{part}"] for part in _NORM}, strict=False)
    return norm_affine(norm)
