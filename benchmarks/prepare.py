"""Make the networks and exported graphs that the benchmarks keep, so that measuring does not wait for them.

python -m benchmarks.prepare
"""

from __future__ import annotations

from benchmarks.end_to_end import EXTRA, network_of, xnnpack_program
from benchmarks.networks import binary, published, size_15m
from benchmarks.scaling import FRAMES, RATE, SIDE, SIDES, STEPS
from benchmarks.sweep import RATES


def main() -> None:
    """Fill `out/benchmarks`; what is there already is left."""
    for rate in RATES:
        print(f"15M, firing at {rate:.0%}", flush=True)
        size_15m(rate)
    for frames, side in [*((frames, SIDE) for frames in FRAMES), *((STEPS, side) for side in SIDES)]:
        print(f"{frames} frames of {side} x {side}", flush=True)
        published(binary(frames, side), RATE)
    for which, extra in EXTRA.items():
        if "xnnpack" in extra:
            network = network_of(which)
            for form in ("float", "int8"):
                print(f"{network.name} on XNNPACK, {form}", flush=True)
                xnnpack_program(network, form)


if __name__ == "__main__":
    main()
