"""Bad inputs, generated: each ends in a sentence that says what is wrong, none in an unexpected error or a hang."""

from __future__ import annotations

import pytest
from bad_inputs.harness import Case
from bad_inputs.page import PAGE, corpus, row_of, run_case

CASES = corpus()
ROWS = set(PAGE.read_text().splitlines())


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(CASES) >= 150
    assert len({c.name for c in CASES}) == len(CASES)
    assert f"{len(CASES)} bad inputs, each answered with a sentence." in ROWS


@pytest.mark.filterwarnings("ignore")  # NumPy, zarr and anndata warn of what these files hold
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_ends_in_a_sentence(case: Case, tmp_path) -> None:
    sentences = run_case(case, tmp_path)
    assert sentences, "the bad input was taken without a word"
    text = "\n".join(sentences)
    assert "Unexpected" not in text and "Traceback" not in text and "no answer after" not in text, text
    assert all(word in text for word in case.words), text
    assert row_of(case, sentences) in ROWS, "docs/reliability.md is not up to date: run make docs"
