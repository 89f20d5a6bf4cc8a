"""Numbers in documents are those of the stored results."""

from __future__ import annotations

import pytest

from benchmarks.documents import DOCUMENTS, ROOT, render


@pytest.mark.parametrize("name", DOCUMENTS)
def test_generated_parts_are_up_to_date(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "<!-- generated: " in text
    assert render(text) == text, f"{name} is out of date; run: python -m benchmarks.documents"


def test_an_edited_number_is_noticed() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tampered = text.replace("<!-- generated: headline -->\n", "<!-- generated: headline -->\n1000 times ")
    assert tampered != text and render(tampered) != tampered
