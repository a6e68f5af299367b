"""The corpus as a table of ``docs/reliability.md``: every bad input and the first sentence that a user gets.

``python -m bad_inputs.page`` writes it; ``test_bad_inputs.py`` compares.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from engines.suite import PROJECT, replace_part

from bad_inputs import anndata_cases, run_cases
from bad_inputs.harness import Case, said
from scfm.registries.pages import markdown_table

PAGE = PROJECT / "docs" / "reliability.md"
#: characters of a sentence that the page shows
SHOWN = 260


def corpus() -> list[Case]:
    """Return every bad input, in the order of the table."""
    return [*anndata_cases.cases(), *run_cases.cases()]


def run_case(case: Case, folder: Path) -> list[str]:
    """Return the sentences of a bad input, without the folder it was made in."""
    executable, argv = case.make(folder)
    return [text.replace(f"{folder}/", "").replace(str(folder), ".") for text in said(executable, argv, folder)]


def row_of(case: Case, sentences: Sequence[str]) -> str:
    """Return the row of a bad input: its name, its first sentence, and how many more there are."""
    first = " ".join(sentences[0].split()).replace("<", "&lt;")
    cut = first if len(first) <= SHOWN else f"{first[:SHOWN]} ..."
    more = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
    return markdown_table(["", ""], [[f"`{case.name}`", cut + more]]).splitlines()[-1]


def main() -> None:
    """Run the corpus and write the table."""
    rows = []
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
        warnings.simplefilter("ignore")
        for case in corpus():
            folder = Path(scratch) / case.name
            folder.mkdir()
            rows.append(row_of(case, run_case(case, folder)))
    head = f"{len(rows)} bad inputs, each answered with a sentence.\n\n| input | first sentence |\n| --- | --- |\n"
    replace_part(PAGE, "bad_inputs", head + "\n".join(rows))


if __name__ == "__main__":
    main()
