"""svf-run on a "device" of the tests whose runs take 2 ms each, with 0.02 ms of its clock between them.

    python paced_runner.py SVF_RUN bench BUNDLE... --seconds S...

The document is the real program's, of a few runs; their times are those that such a device would have had in S seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys

TURNS = 5
RUN, BETWEEN = 2.0, 0.02


def turn(seconds: float) -> list[float]:
    """Milliseconds of the runs of one turn, which ends with the run that passes its limit."""
    samples, now = [RUN], RUN
    while now <= 1e3 * seconds:
        samples.append(RUN)
        now += BETWEEN + RUN
    return samples


def main() -> None:
    """Run the real program with fewer runs, and tell other times."""
    command = sys.argv[1:]
    seconds = float(command[command.index("--seconds") + 1])
    command[command.index("--runs") + 1] = str(TURNS)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    document = json.loads(done.stdout)
    for variant in document["variants"]:
        variant["measurement"]["timing"]["rounds"] = [turn(seconds / TURNS) for _ in range(TURNS)]
    print(json.dumps(document))


if __name__ == "__main__":
    main()
