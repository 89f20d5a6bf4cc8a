"""The pose of one person, frame after frame."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from svf_edge.data.skeleton import NUM_JOINTS
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.model.config import PoseHead
from svf_edge.runtimes.tracking.crop import Box, CropFollower, FollowRule, cut
from svf_edge.runtimes.tracking.session import open_frames
from svf_edge.tasks.decoding import decode

if TYPE_CHECKING:
    from types import TracebackType

    from svf_edge.export.bundle import Bundle

STAGES = ("preprocess", "network", "postprocess")


class PoseTracker:
    """Finds the joints of one person in every frame of one stream.

    `keypoints, scores = tracker(frame)`. All state (the network's, the box that follows the person) belongs to the
    object: make one per stream. Joints are those of `svf_edge.data.skeleton`.
    """

    def __init__(
        self,
        bundle: Bundle | str | Path,
        runtime: str | None = None,
        threads: int = 1,
        *,
        follow: FollowRule | None = None,
    ) -> None:
        """Open `bundle` (a folder, or an opened one) on `runtime`, or on the best that can run it.

        Raises `BadFile` or `ContractMismatch` for a damaged or foreign bundle, `UnsupportedInput` for a model that
        finds no pose in pixels or a runtime that cannot run it, `MissingPackage` or `MissingLibrary`.
        """
        if isinstance(bundle, str | Path):
            from svf_edge.export.bundle import Bundle

            bundle = Bundle.open(bundle)
        self.bundle = bundle
        self._head = _pose_head(bundle)
        _, _, *size = bundle.manifest.frames.shape
        self._size = (size[0], size[1])
        (self._output,) = bundle.manifest.outputs
        self._rule = follow if follow is not None else FollowRule()
        self._session = open_frames(bundle, runtime, threads)
        self._follower: CropFollower | None = None
        self.runtime = self._session.runtime
        """The name of the runtime that was chosen."""
        self.box = Box(0, 0, 0, 0)
        """What the network saw of the last frame."""
        self.crop: NDArray[np.uint8] = np.zeros((3, *self._size), np.uint8)
        """The last frame as the network took it, `[3, h, w]`."""
        self.milliseconds: Mapping[str, float] = dict.fromkeys(STAGES, 0.0)
        """What the stages of the last frame took."""

    @property
    def found(self) -> bool:
        """Whether the box follows a person; else the tracker searches."""
        return self._follower is not None and self._follower.found

    def __call__(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Joints float32 `[J, 2]` (x, y in pixels of the frame) and scores float32 `[J]` (0..1).

        `frame` is RGB uint8 `[H, W, 3]` of any size. A frame of another size than the last one begins a new stream.
        Raises `UnsupportedInput` for anything else.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise UnsupportedInput(
                f"the tracker takes RGB frames uint8 [H, W, 3], got {frame.dtype} {list(frame.shape)}; convert it first"
            )
        began = time.perf_counter()
        picture = (frame.shape[0], frame.shape[1])
        if self._follower is None or self._follower.picture != picture:
            self._follower = CropFollower(picture, self._size, self._rule)
            self._session.reset()
        self.box = self._follower.box
        self.crop = cut(frame, self.box, self._size)
        prepared = time.perf_counter()
        scores = self._session.step(self.crop)[self._output.name][:, 0, 0]
        stepped = time.perf_counter()
        pose = decode(scores, self._head, self._size, self._output.exponent)
        points = self.box.to_picture(pose.points, self._size)
        self._follower.update(points, pose.confidence)
        ended = time.perf_counter()
        times = (prepared - began, stepped - prepared, ended - stepped)
        self.milliseconds = {stage: 1e3 * seconds for stage, seconds in zip(STAGES, times, strict=True)}
        return points, pose.confidence

    def reset(self) -> None:
        """Forget the stream: the next frame is a first one."""
        self._follower = None
        self._session.reset()

    def close(self) -> None:
        """Let go of the runtime's session."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def _pose_head(bundle: Bundle) -> PoseHead:
    """The pose head of the bundle's model. Raises `BadFile` or `UnsupportedInput` for a model without one."""
    manifest = bundle.manifest
    model = manifest.model.get("model")
    described = model.get("head") if isinstance(model, Mapping) else None
    if not isinstance(described, Mapping):
        raise BadFile(
            f"{bundle.folder}: does not record the model it was made from, so its output cannot be read as joints; "
            "export a program made with `svf-edge freeze`"
        )
    if described.get("kind") != "pose" or len(manifest.outputs) != 1 or manifest.frames.shape[1] != 3:
        raise UnsupportedInput(
            f"{bundle.folder}: a model with a {described.get('kind')} head on {manifest.frames.shape[1]} channels; "
            "tracking needs a pose model that takes RGB video"
        )
    try:
        head = PoseHead.model_validate(described)
    except ValidationError as error:
        raise BadFile(f"{bundle.folder}: its pose head is not valid ({error.errors()[0]['msg']})") from error
    if head.joints != NUM_JOINTS or manifest.outputs[0].shape[1:] != (head.joints * 2 * head.bins, 1, 1):
        raise UnsupportedInput(
            f"{bundle.folder}: {head.joints} joints in outputs {list(manifest.outputs[0].shape)}; tracking needs the "
            f"{NUM_JOINTS} joints of svf_edge.data.skeleton"
        )
    return head
