"""docs/messages.md and the code agree: every code is explained once, and nothing is explained that no code says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = r"[EWI]-[A-Z]+-\d{2}"


def test_every_code_is_in_the_table_and_the_other_way_round() -> None:
    said: set[str] = set()
    for path in (ROOT / "bin").rglob("*.py"):
        said |= set(re.findall(rf"[\"(]({CODE})[\")]", path.read_text()))
    rows = re.findall(rf"^\| ({CODE}) \| .+ \| .+ \| .+ \|$", (ROOT / "docs" / "messages.md").read_text(), re.MULTILINE)
    assert {code: n for code, n in Counter(rows).items() if n > 1} == {}
    assert set(rows) == said
    assert len(said) > 40


def test_a_code_of_a_model_means_one_thing() -> None:
    """The same code in two models stands before the same words."""
    meanings: dict[str, set[str]] = {}
    for path in (ROOT / "bin" / "scfm" / "models").rglob("*.py"):
        for code, text in re.findall(r"\"([WI]-MOD-\d\d)\",\s*f?\"([^\"]{12})", path.read_text()):
            meanings.setdefault(code, set()).add(text)
    assert {code: texts for code, texts in meanings.items() if len(texts) > 1} == {}
    assert len(meanings) > 8
