"""What a plan for Kinetics-400 needs of this machine: decoding of videos, size and reading of shards.

The video is the shipped clip over and over, encoded as such sets are kept (340x256, H.264).
All in CPU time, which is what cores have to be bought for. python -m benchmarks.kinetics
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import av
import numpy as np

from benchmarks.turns import RESULTS, conditions, store
from svf_edge.data.sample import Sample
from svf_edge.data.shards import Description, ShardDataset, write_shards
from svf_edge.data.synthetic import SyntheticPoseDataset
from svf_edge.data.video import iter_clips, read_clip
from svf_edge.shipped import CLIP

RESULT = RESULTS / "kinetics.json"
SECONDS, RATE, SIZE = 10, 30, (256, 340)
CLIP_FRAMES, CLIP_SIZE, STRIDE = 16, (224, 224), 4
SHARDED = 12


def main() -> None:
    """Measure and write the result file."""
    before = conditions("av", "pillow")
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        frames = _video(video)
        last = frames - CLIP_FRAMES * STRIDE
        starts = [int(start) for start in np.linspace(0, last, 8)]
        decoded, begin = 0, time.process_time()
        for start in starts:
            read_clip(video, CLIP_FRAMES, CLIP_SIZE, start=start, stride=STRIDE)
            decoded += start + (CLIP_FRAMES - 1) * STRIDE + 1
        decoding = time.process_time() - begin
        shards = Path(folder) / "shards"
        clips = [_sample(window) for window in _windows(video)]
        about = {"frames": CLIP_FRAMES, "height": CLIP_SIZE[0], "width": CLIP_SIZE[1], "per_shard": SHARDED}
        counts = {"train": len(clips), "val": 0}
        held = Description.model_validate({**about, "quality": 90, "clips": counts, "source": {}})
        begin = time.process_time()
        write_shards({"train": clips, "val": []}, shards, held)  # type: ignore[dict-item]  # a list is a data set
        cutting = time.process_time() - begin
        data = ShardDataset(shards, "train")
        begin = time.process_time()
        for _ in range(3):
            for index in range(len(data)):
                data[index]
        reading = (time.process_time() - begin) / 3
        size = sum(path.stat().st_size for path in shards.iterdir())
        result = {
            "video": {"frames": frames, "bytes": video.stat().st_size, "size": SIZE, "seconds": SECONDS},
            "clip": {"frames": CLIP_FRAMES, "size": CLIP_SIZE, "stride": STRIDE},
            "decoded_frames_per_second": decoded / decoding,
            "clips_per_second_from_videos": len(starts) / decoding,
            "clips_per_second_from_shards": len(data) / reading,
            "clips_per_second_cut": len(clips) / cutting,
            "shard_bytes_per_clip": size / len(clips),
        }
    store(RESULT, {**before, **result})


def _video(path: Path) -> int:
    """Write the video; gives its number of frames."""
    source = [window[0].transpose(1, 2, 0) for window in iter_clips(CLIP, 1, SIZE)]
    count = SECONDS * RATE
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for place in range(count):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(source[place % len(source)]), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return count


def _windows(video: Path) -> list[np.ndarray]:
    return [read_clip(video, CLIP_FRAMES, CLIP_SIZE, start=place * 16, stride=STRIDE) for place in range(SHARDED)]


def _sample(frames: np.ndarray) -> Sample:
    """The fields of a rendered clip with other frames: what a label takes is little beside a picture."""
    import torch

    like = SyntheticPoseDataset("train", 1, CLIP_FRAMES, (32, 32), 0)[0]
    like["frames"] = torch.from_numpy(frames)
    return like


if __name__ == "__main__":
    main()
