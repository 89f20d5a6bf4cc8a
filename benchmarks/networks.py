"""The networks that are measured: the shipped one, and published sizes with random weights that fire at a wanted rate.

Time depends on shapes and firing rates, not on what a network has learnt. So a published size gets random weights, and
offsets layer by layer until each of its neurons' layers fires at the wanted rate on a real clip. The result is an
integer program like any other. It is kept in `out/benchmarks/networks`, under a name that changes with this file.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from svf_edge.contract import INT8_MAX
from svf_edge.data.video import iter_clips
from svf_edge.model.config import ModelConfig, model_config
from svf_edge.program import Add, Attention, Conv, Lif, Node, Program, interpret, load_program, save_program
from svf_edge.program.interpret import check_frames, lif
from svf_edge.program.ranges import prove
from svf_edge.shipped import CHECKPOINT, CLIP

CACHE = Path("out/benchmarks/networks")
SPREAD = 256
"""Standard deviation of a convolution's fixed output in its unit of 2^-8, so about one threshold."""
INNER_SPREAD = 30  # of an int8 output: four standard deviations fit
SAMPLE = 1 << 17  # neurons that a rate is estimated on while it is tuned

Int64 = NDArray[np.int64]
Clip = NDArray[np.uint8]


@dataclass(frozen=True)
class Network:
    """A program with clips for it: the first is what is timed, all of them may calibrate.

    `rates` are mean spikes per neuron and step on the first clip, by layer; `outputs` what the program must give for
    it, int32 `[T, C, H, W]` by name.
    """

    name: str
    program: Program
    clips: tuple[Clip, ...]
    rates: Mapping[str, float]
    outputs: Mapping[str, NDArray[np.int32]]

    @property
    def spikes_per_neuron(self) -> float:
        """Mean over all neurons and steps."""
        sizes = {node.name: int(np.prod(self.program.types[node.name].shape)) for node in self.program.lifs}
        return sum(self.rates[name] * size for name, size in sizes.items()) / sum(sizes.values())


def shipped() -> Network:
    """The shipped network on all whole windows of the shipped clip."""
    from svf_edge.model_store import load_model
    from svf_edge.program.freeze import freeze

    model, meta = load_model(CHECKPOINT)
    return measured(model.config.size, freeze(model, meta=meta))


def published(config: ModelConfig, rate: float, seed: int = 0) -> Network:
    """A network of `config` with random weights whose LIF layers each fire at `rate` on the shipped clip."""
    height, width = config.frame_size
    name = f"{config.size}-{config.frames}x{height}x{width}-{100 * rate:g}-{seed}"
    made_from = hashlib.sha256(config.model_dump_json().encode() + Path(__file__).read_bytes()).hexdigest()
    path = CACHE / f"{name}-{made_from[:12]}.safetensors"
    if path.is_file():
        program = load_program(path)
        rates, outputs = program.meta["rates"], program.meta["outputs"]
        known = {name: np.array(values, np.int32) for name, values in outputs.items()}
        return Network(config.size, program, clips_for(program), rates, known)
    program = random_program(config, seed)
    network = measured(config.size, tuned(program, clips_for(program)[0], rate))
    known = {name: values.tolist() for name, values in network.outputs.items()}
    save_program(network.program.with_meta(rates=dict(network.rates), outputs=known), path)
    return network


def size_15m(rate: float, frames: int = 4) -> Network:
    """The published size of 15 million parameters at 224 x 224."""
    head = {"kind": "classification"}
    return published(model_config("15M", frame_size=(224, 224), frames=frames, head=head), rate)


def shipped_size(rate: float) -> Network:
    """The shipped network's configuration with binary spikes and random weights."""
    from svf_edge.model_store import load_model

    return published(load_model(CHECKPOINT)[0].config.model_copy(update={"levels": 1}), rate)


def binary(frames: int, side: int, size: str = "mobile-s") -> ModelConfig:
    """`size` with binary spikes, for one clip length and frame size.

    It has the head for classes: a pose head reads all positions at once, and its sums leave float32 in large frames.
    """
    return model_config(size, frames=frames, frame_size=(side, side), levels=1, head={"kind": "classification"})


def measured(name: str, program: Program) -> Network:
    """`program` with the shipped clip's windows, its rates and outputs on the first."""
    clips = clips_for(program)
    values = evaluate(program, clips[0])
    return Network(
        name,
        program,
        clips,
        {node.name: float(values[node.name].mean()) for node in program.lifs},
        {output.name: values[output.source].astype(np.int32) for output in program.outputs},
    )


def clips_for(program: Program) -> tuple[Clip, ...]:
    """Windows of the shipped clip in the shape `program` takes; a longer one than the clip is the clip repeated."""
    steps, _, height, width = program.frames.shape
    frames = np.concatenate(list(iter_clips(CLIP, 1, (height, width))))
    if len(frames) < steps:
        frames = np.concatenate([frames] * -(-steps // len(frames)))
    return tuple(frames[start : start + steps] for start in range(0, len(frames) - steps + 1, steps))


def random_program(config: ModelConfig, seed: int) -> Program:
    """The program of a freshly initialised network of `config`; nobody has looked at what its neurons do."""
    from svf_edge.model.layers import ConvNorm
    from svf_edge.model.network import SpikeVideoFormer
    from svf_edge.program.freeze import freeze
    from svf_edge.quant import quantise

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SpikeVideoFormer(config).eval()
        inner = [name for name, module in model.named_modules() if isinstance(module, ConvNorm) and module.inner]
        return freeze(quantise(model, dict.fromkeys(inner, 5)).eval())


def evaluate(program: Program, clip: Clip) -> Mapping[str, Int64]:
    """Every tensor of `program` on `clip`, equal to the reference's, with convolutions in float32.

    Raises `RangeError` where float32 could be inexact.
    """
    check_frames(program.frames, clip)
    prove(program, "float32")
    values: dict[str, Int64] = {program.frames.name: clip.astype(np.int64) - program.frames.zero_point}
    for node in program.nodes:
        values[node.name] = _node(node, values)
    return values


def tuned(program: Program, clip: Clip, rate: float) -> Program:
    """`program` with shifts that give every convolution a useful spread and offsets that make each LIF fire at `rate`.

    The offset of a LIF goes into the bias of the convolution ahead of it; behind attention into its own.
    """
    values: dict[str, Int64] = {program.frames.name: clip.astype(np.int64) - program.frames.zero_point}
    nodes: dict[str, Node] = {}
    for node in program.nodes:
        match node:
            case Conv():
                node = _scaled(node, values[node.source])
            case Lif() if isinstance(nodes[node.source], Attention):
                node = _centred(node, values[node.source])
                node = dataclasses.replace(node, bias=node.bias + np.int32(_offset(node, values[node.source], rate)))
            case Lif():
                offset = _offset(node, values[node.source], rate)
                _raise(node.source, offset, nodes, values)
        nodes[node.name] = node
        values[node.name] = _node(node, values)
    return Program(program.frames, tuple(nodes.values()), program.outputs, program.meta)


def _scaled(node: Conv, x: Int64) -> Conv:
    raw = dataclasses.replace(node, bias=np.zeros_like(node.bias), shift=np.zeros_like(node.shift), out="fixed")
    wanted = INNER_SPREAD if node.out == "int8" else SPREAD
    spread = max(float(convolve(raw, x).std()), 1.0)
    shift = round(np.log2(spread / wanted))
    half = (1 << shift) >> 1 if shift > 0 else 0
    return dataclasses.replace(node, bias=np.full_like(node.bias, half), shift=np.full_like(node.shift, shift))


def _centred(node: Lif, x: Int64) -> Lif:
    """A LIF behind attention: every channel's mean taken out, the threshold at one standard deviation."""
    drive = node.gain[:, None, None] * x
    bias = -drive.mean(axis=(0, 2, 3)).round().astype(np.int32)
    theta = max(round(float(drive.std())), 1)
    return dataclasses.replace(node, bias=bias, theta=np.full_like(node.theta, theta))


def _offset(node: Lif, x: Int64, rate: float) -> int:
    """What to add to the drive of `node` so that it fires at `rate`, counted in spikes per neuron and step."""
    steps, channels, height, width = x.shape
    flat = x.reshape(steps, channels, height * width, 1)
    flat = flat[:, :, :: max(1, x.size // SAMPLE)]
    reach = 16 * int(node.theta.max()) + int(np.abs(node.gain[:, None, None] * flat).max())
    low, high = -reach, reach
    while high - low > 1:
        middle = (low + high) // 2
        fired, _ = lif(dataclasses.replace(node, bias=node.bias + np.int32(middle)), flat)
        low, high = (middle, high) if float(fired.mean()) < rate else (low, middle)
    return high


def _raise(name: str, offset: int, nodes: dict[str, Node], values: dict[str, Int64]) -> None:
    """Add `offset` to tensor `name` by the bias of the convolution that makes it, alone or into a residual sum."""
    node = nodes[name]
    if isinstance(node, Add):
        _raise(max((node.left, node.right), key=list(nodes).index), offset, nodes, values)
    elif isinstance(node, Conv):
        shift = np.maximum(node.shift, 0)
        nodes[name] = dataclasses.replace(node, bias=node.bias + (np.int32(offset) << shift))
    values[name] = values[name] + offset


def _node(node: Node, values: Mapping[str, Int64]) -> Int64:
    return convolve(node, values[node.source]) if isinstance(node, Conv) else interpret.evaluate(node, values)


def convolve(node: Conv, x: Int64) -> Int64:
    """The reference's convolution in a hundredth of its time: float32 is exact within the range proof."""
    floats, weight = (torch.from_numpy(v.astype(np.float32)) for v in (x, node.weight))
    sums = functional.conv2d(floats, weight, None, node.stride, node.padding, 1, node.groups).numpy().astype(np.int64)
    bias, shift = (v.astype(np.int64)[:, None, None] for v in (node.bias, node.shift))
    y = ((sums << np.maximum(-shift, 0)) + bias) >> np.maximum(shift, 0)
    return np.clip(y, -INT8_MAX, INT8_MAX) if node.out == "int8" else y
