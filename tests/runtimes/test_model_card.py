"""The model card: generated, complete, up to date, and of the files beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from svf_edge.files import sha256
from svf_edge.runtimes.model_card import ModelCard, render
from svf_edge.shipped import CHECKPOINT, STREAM_CHECKPOINT

FOLDER = CHECKPOINT.parent
HINT = "run: python tools/make_shipped_model.py --card svf_edge/assets/models NAME"


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return ModelCard.model_validate_json(CHECKPOINT.with_suffix(".json").read_text(encoding="utf-8"))


def test_the_page_is_up_to_date(card: ModelCard) -> None:
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == render(card), HINT


def test_the_results_are_those_of_the_shipped_files(card: ModelCard) -> None:
    assert set(card.files) == {path.name for path in FOLDER.glob("*.safetensors")} - {STREAM_CHECKPOINT.name}
    for name, file in card.files.items():
        path: Path = FOLDER / name
        assert (path.stat().st_size, sha256(path)) == (file.size, file.sha256), f"{name} changed; {HINT}"


def test_checkpoint_and_program_reach_the_same(card: ModelCard) -> None:
    assert {(report.data, report.kind) for report in card.evaluations} == {
        (data, kind) for data in ("synthetic", "real") for kind in ("quantised checkpoint", "program")
    }
    for data in ("synthetic", "real"):
        first, second = (report for report in card.evaluations if report.data == data)
        assert first.scores == second.scores and first.runtime != second.runtime


def test_every_number_comes_from_the_results(card: ModelCard) -> None:
    first = card.evaluations[0]
    value = first.scores.overall["pck@0.2"].value
    assert value is not None and f"{value:.3f}" in render(card)
    score = first.scores.overall["pck@0.2"].model_copy(update={"value": 0.98765})
    scores = first.scores.model_copy(update={"overall": {**first.scores.overall, "pck@0.2": score}})
    other = card.model_copy(
        update={"evaluations": (first.model_copy(update={"scores": scores}), *card.evaluations[1:])}
    )
    assert "0.988" in render(other) and "0.988" not in render(card)


def test_it_says_what_the_labels_are_and_whose_the_data_is(card: ModelCard) -> None:
    page = render(card)
    for words in ("pseudo-labels", "no ground truth", "BSD-3-Clause", "zlib", "Apache-2.0", "## Limits", "% bootstrap"):
        assert words in page
    for layer in card.evaluations[0].firing_rates:
        assert layer in page
