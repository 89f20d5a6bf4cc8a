"""Tables of what the paper says: its space-time designs, its energy, its data sets."""

from __future__ import annotations

from benchmarks.results import Line, distributions, growth, load


def spacetime() -> str:
    """Parameters and cost over time of every form of attention."""
    result = load("spacetime")
    width, machine = result["width"], result["machine"]
    lines = [
        "| form | similarity | attention weights | slope, ms a frame | at zero, ms | worst point off the line | "
        "R squared | growth exponent | 32 frames, ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        points = {float(frames): one.p50 for frames, one in distributions(row["samples_ms"]).items()}
        line = Line.fit(points)
        lines.append(
            f"| {row['form']} | {row['mode']} | {row['weights'] / width**2:g} D^2 | {line.slope:.3f} | "
            f"{line.intercept:.2f} | {line.worst:.0%} | {line.r_squared:.4f} | {growth(points):.2f} | "
            f"{points[max(points)]:.1f} |"
        )
    frames = list(result["rows"][0]["samples_ms"])
    return "\n".join(
        [
            *lines,
            "",
            "![Time over frames](plots/spacetime.svg)",
            "",
            f"Clips of {frames[0]} to {frames[-1]} frames of {result['side']} x {result['side']}; D = {width}, two "
            f"blocks, binary spikes at {result['rate']:.0%} firing; ONNX Runtime packed, one thread of an "
            f"{machine['cpu']}, load average {result['load_before'][0]:.1f} before. Medians over all turns.",
        ]
    )
