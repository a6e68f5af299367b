"""The catalogue of messages, and that the code, the catalogue and the page agree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from scfm.errors import ScfmError
from scfm.registries import pages
from scfm.registries.messages import CATALOGUE, load_messages, message, sentence
from scfm.registries.reader import ASSETS, read_registry

ROOT = Path(__file__).resolve().parents[2]
#: arguments of ``message`` that no text needs to use
ABOUT = {"dataset", "method", "embedding", "seed", "values", "threshold"}


def test_the_catalogue_fits_its_schema_and_is_the_one_in_bin() -> None:
    rows = read_registry(ASSETS / "messages.tsv", kind="message")
    assert list(rows) == list(load_messages()) and len(rows) > 60
    assert (ASSETS / "messages.tsv").resolve() == CATALOGUE.resolve()
    for row in load_messages().values():
        assert all(field.isidentifier() for field in row.fields), row.name
        assert row.text.endswith((".", "}")) and (not row.advice or row.advice.endswith(".")), row.name


def test_a_severity_is_no_worse_than_the_letter_of_its_code() -> None:
    order = {"E": 0, "W": 1, "I": 2, "error": 0, "warning": 1, "info": 2}
    assert [r.name for r in load_messages().values() if order[r.severity] < order[r.code[0]]] == []


def test_a_message_has_text_numbers_and_advice() -> None:
    entry = message("W-PCA-01", dataset="pbmc", seed=3, values={"n_pcs": 1}, threshold=50)
    assert entry == {
        "code": "W-PCA-01",
        "severity": "warning",
        "dataset": "pbmc",
        "method": "",
        "embedding": "",
        "seed": 3,
        "text": "The data allow 1 principal component; --n_pcs asks for 50.",
        "advice": "Lower --n_pcs.",
        "values": {"n_pcs": 1},
        "threshold": 50,
    }
    several = message("W-BATCH-01", n_batches=1204, sizes={"a": 3, "b": 4}, values={"a": 3, "b": 4}, threshold=9)
    assert several["text"].startswith("1,204 batches have fewer than 9 labelled cells ('a: 3', 'b: 4').")
    one = sentence("E-IN-03/batch", n_missing=1, n_cells=1500, key="donor {x}")
    assert one.startswith("1 cell of 1,500 has no batch in 'donor {x}'. They") and one.endswith("dropped_cells.tsv.")
    many = message("W-HVG-04", n_genes=7, values={"genes": list("abcdefg")})
    assert "7 forced genes have no counts" in many["text"] and "'e' and 2 more" in many["text"]


def test_a_case_has_the_code_of_its_family() -> None:
    entry = message("W-TRN-04/harmony", seed=0, values={"last_change": 0.02}, max_iter=10, threshold=0.01)
    assert (entry["code"], entry["severity"]) == ("W-TRN-04", "info")


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("W-PCA-99", {}, "there is no message 'W-PCA-99'"),
        ("W-PCA-01", {"threshold": 2}, "needs n_pcs"),
        ("W-PCA-01", {"values": {"n_pcs": 1}, "threshold": 2, "n_pc": 3}, "does not use n_pc"),
    ],
)
def test_what_does_not_fit_the_catalogue_is_an_error(name: str, values: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        message(name, **values)


def calls() -> Iterator[tuple[Path, ast.Call]]:
    """Yield every call of ``message``, ``sentence`` and a model's ``warn`` in ``bin``."""
    for path in sorted((ROOT / "bin").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            function = node.func if isinstance(node, ast.Call) else None
            name = getattr(function, "id", None) or getattr(function, "attr", None)
            if name in {"message", "sentence", "warn"}:
                yield path, node


def names_of(argument: ast.expr) -> list[str]:
    """Return the rows that the first argument can name; empty where it is a variable."""
    if isinstance(argument, ast.IfExp):
        return names_of(argument.body) + names_of(argument.orelse)
    return [argument.value] if isinstance(argument, ast.Constant) else []


def test_every_call_names_a_row_and_gives_what_its_text_needs() -> None:
    checked = 0
    for path, call in calls():
        given: set[str] | None = {k.arg for k in call.keywords if k.arg} | ABOUT - {"values"}
        for keyword in call.keywords:
            if keyword.arg == "values" and isinstance(keyword.value, ast.Dict) and None not in keyword.value.keys:
                given |= {k.value for k in keyword.value.keys if isinstance(k, ast.Constant)}
            elif keyword.arg in {"values", None}:
                given = None  # a variable: known only when the code runs
                break
        for name in names_of(call.args[0]):
            where = f"{path.relative_to(ROOT)}:{call.lineno}: {name}"
            assert name in load_messages(), where
            if given is not None:
                assert set(load_messages()[name].fields) <= given, where
                checked += 1
    assert checked > 30


def test_every_row_is_reported_by_the_code() -> None:
    said = {
        node.value
        for path in (ROOT / "bin").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(load_messages()) - said == set()


def test_the_pages_are_what_make_docs_writes() -> None:
    made = {page: page.read_text() for page in (ROOT / "docs").rglob("*.md") if "<!-- made: " in page.read_text()}
    assert {page.name for page in made} >= {"messages.md", "output.md"}
    for page, text in made.items():
        assert pages.filled(text, page) == text, f"{page} is behind the tables of assets/: run `make docs`"
        assert text.count("<!-- made: ") == text.count("<!-- end: ")
    with pytest.raises(ScfmError, match=r"page.md: there is no part 'nothing'"):
        pages.filled("<!-- made: nothing -->\nold\n<!-- end: nothing -->\n", "page.md")
