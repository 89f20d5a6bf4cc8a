"""Task heads: membrane features `[T, B, C, h, w]` to scores of every frame, `[T, B, K]` or maps `[T, B, K, h, w]`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from svf_edge.contract import INT8_MAX
from svf_edge.model.blocks import make_lif
from svf_edge.model.config import ClassificationHead, ModelConfig, Pose3dHead, PoseHead, SegmentationHead
from svf_edge.model.layers import ConvNorm


class Pose(nn.Module):
    """Scores `[T, B, joints * axes * bins]`: for every joint, bins along x, then along y, then along z (SimCC).

    A 1x1 convolution makes a few maps per joint; a convolution as large as the map, grouped by joint, reads them.
    """

    def __init__(self, config: ModelConfig, head: PoseHead | Pose3dHead) -> None:
        super().__init__()
        maps = head.joints * head.maps
        self.lif = make_lif(config)
        self.maps = ConvNorm(config.embed[3], maps, inner=True)
        self.read = ConvNorm(maps, head.scores, config.feature_size, groups=head.joints, bias=True, norms=0)
        nn.init.normal_(self.read.conv.weight, std=0.5 / math.sqrt(self.read.conv.weight[0].numel()))

    @torch.no_grad()
    def start_from(self, frequency: Tensor) -> None:
        """Start at the training set's marginal: `frequency` `[joints, axes, bins]` counts joints per bin."""
        _start(self.read, frequency)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.maps(self.lif(x))).flatten(2)


class SpatialMean(nn.Module):
    """Mean over space as a sum times a power of two; `correction` makes up the rest and belongs to the next weights."""

    def __init__(self, size: tuple[int, int], channels: int, levels: int) -> None:
        super().__init__()
        self.size = size
        self.channels = channels
        self.exponent = math.ceil(math.log2(size[0] * size[1]))
        self.correction = 2.0**self.exponent / (size[0] * size[1])
        # The int8 result reaches at most `levels`; its unit is as fine as the sum or as int8 allows.
        self.out_exponent = min(self.exponent, (INT8_MAX // levels).bit_length() - 1)
        self.quantised = False

    def forward(self, spikes: Tensor) -> Tensor:
        mean = spikes.sum((-2, -1), keepdim=True) * 2.0**-self.exponent
        if self.quantised:
            unit = 2.0**-self.out_exponent
            rounded = torch.floor(mean.detach() / unit + 0.5) * unit
            mean = mean + (rounded - mean.detach())  # exact: both are whole numbers of the sum's unit
        return mean


class SpatialSum(nn.Module):
    """Sum over space of membrane features, `[T, B, C, h, w]` to `[T, B, C, 1, 1]`.

    Quantised, each value is first rounded to a unit `2^shift` times as coarse as the membranes', so that a sum over
    many positions stays within the range of one.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.area = size[0] * size[1]
        self.shift = max(0, (self.area - 1).bit_length() - 3)
        self.unit: float | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.unit is not None:
            rounded = torch.floor(x.detach() / self.unit + 0.5) * self.unit
            x = x + (rounded - x.detach())  # exact: both are whole numbers of membrane units
        return x.sum((-2, -1), keepdim=True)


class Classification(nn.Module):
    """Class scores `[T, B, classes]` of every frame; average them over T.

    A mean of spikes over space hardly differs from clip to clip, so BatchNorm sets the spread of the scores; the
    authors' head, which reads single spikes, has none.
    """

    def __init__(self, config: ModelConfig, head: ClassificationHead) -> None:
        super().__init__()
        self.pool: SpatialMean | SpatialSum
        membrane = head.pool == "membrane"
        if membrane:
            self.pool = SpatialSum(config.feature_size)
            self.lif = make_lif(config, self.pool.area)  # of a sum, where the authors have 1 of a mean
        else:
            self.lif = make_lif(config)
            self.pool = SpatialMean(config.feature_size, config.embed[3], config.levels)
        self.score = ConvNorm(config.embed[3], head.classes, bias=membrane, norms=0 if membrane else 1)

    @torch.no_grad()
    def start_from(self, frequency: Tensor) -> None:
        """Start at the training set's marginal: `frequency` `[classes]` counts clips."""
        _start(self.score, frequency)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():  # they are in running order
            x = layer(x)
        return x.flatten(2)


class Segmentation(nn.Module):
    """Score maps `[T, B, classes * cell * cell, h, w]`; `svf_edge.tasks.decoding` spreads the cells out.

    Spikes go through a 3x3 convolution that looks around, fire again, and a 1x1 convolution answers for the cell.
    """

    def __init__(self, config: ModelConfig, head: SegmentationHead) -> None:
        super().__init__()
        self.cell = head.cell
        self.lif1 = make_lif(config)
        self.around = ConvNorm(config.embed[3], head.width, 3, padding=1, gain=config.norm_gain)
        self.lif2 = make_lif(config)
        self.read = ConvNorm(head.width, head.scores, bias=True, norms=0)

    @torch.no_grad()
    def start_from(self, frequency: Tensor) -> None:
        """Start at the training set's marginal: `frequency` `[classes]` counts pixels."""
        _start(self.read, frequency, self.cell**2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.read(self.lif2(self.around(self.lif1(x))))
        return out


def _start(read: ConvNorm, frequency: Tensor, repeats: int = 1) -> None:
    """Biases at the log-probabilities of counts `[..., K]`, each for `repeats` channels."""
    score = ((frequency + 1) / (frequency + 1).sum(-1, keepdim=True)).log()
    bias = read.norms[-1].bias if read.norms else read.conv.bias
    assert isinstance(bias, Tensor)
    bias.copy_((score - score.mean(-1, keepdim=True)).flatten().repeat_interleave(repeats))


TaskHead = Pose | Classification | Segmentation


def make_head(config: ModelConfig) -> TaskHead:
    """The head of the configuration's task."""
    head = config.head
    if isinstance(head, SegmentationHead):
        return Segmentation(config, head)
    if isinstance(head, ClassificationHead):
        return Classification(config, head)
    return Pose(config, head)
