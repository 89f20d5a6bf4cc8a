"""Models as checkpoint files: configuration, phase and int8 units beside the weights."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from svf_edge.checkpoint import Checkpoint
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.model.config import parse_config
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.quant import fix_weight_exponents, inner_exponents, is_quantised, quantise, weight_bits_of


def save_model(model: SpikeVideoFormer, path: str | Path, meta: Mapping[str, Any]) -> None:
    """Write a float or quantised model with JSON-able `meta` (how it was trained, what it reaches), atomically."""
    config = {
        "model": model.config.model_dump(mode="json"),
        "phase": "qat" if is_quantised(model) else "float",
        "exponents": inner_exponents(model),
        "weight_bits": weight_bits_of(model),
    }
    Checkpoint(config, model.state_dict(), meta).save(path)


def load_model(path: str | Path) -> tuple[SpikeVideoFormer, dict[str, Any]]:
    """The model of a checkpoint in eval mode, and its meta. Raises `BadFile` or `ContractMismatch`."""
    checkpoint = Checkpoint.load(path)
    for name, tensor in checkpoint.state.items():
        if not tensor.isfinite().all():
            raise BadFile(
                f"{path}: tensor '{name}' holds a value that is not finite; train again, with a lower learning rate"
            )
    try:
        model = SpikeVideoFormer(parse_config(checkpoint.config["model"]))
        if checkpoint.config["phase"] == "qat":
            model = quantise(model, checkpoint.config["exponents"], checkpoint.config.get("weight_bits"))
            fix_weight_exponents(model, checkpoint.state)
        model.load_state_dict(dict(checkpoint.state))
    except (AttributeError, KeyError, TypeError, RuntimeError, UnsupportedInput) as error:
        lines = str(error).splitlines()
        reason = textwrap.shorten(" ".join(lines[1:2] or lines), 200)  # torch's first line only says "error(s)"
        raise BadFile(
            f"{path}: weights and configuration do not fit together ({reason}); train again with this release"
        ) from error
    return model.eval(), dict(checkpoint.meta)
