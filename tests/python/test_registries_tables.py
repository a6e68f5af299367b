"""The table of tables, its schemas, and the columns that steps and stubs write."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from scfm.design import rows as design_rows
from scfm.errors import ScfmError
from scfm.inputs.keys import PAIR_COLUMNS
from scfm.io.tables import IDENTITY, write_json
from scfm.metrics import centroids, ranking, scoring, totals
from scfm.probing import rows
from scfm.registries.reader import ASSETS
from scfm.registries.schemas import Schemas
from scfm.registries.tables import load_tables
from scfm.registries.typed import read_typed
from scfm.testing.stubs import STUBS

SCHEMAS = Schemas(ASSETS)


def test_every_table_has_a_schema_with_a_key() -> None:
    assert set(load_tables()) == set(SCHEMAS.tables) and len(SCHEMAS.tables) >= 6
    for name in SCHEMAS.tables:
        assert set(SCHEMAS.key(name)) <= set(SCHEMAS.columns(name)), name
        assert SCHEMAS.load(name)["title"] == f"tables/{name}.tsv"


def test_a_file_belongs_to_one_table() -> None:
    for name in ("pbmc.pca.raw.0.scores.tsv", "pbmc.pca.raw.0.probing.tsv", "pbmc.none.centroids.tsv"):
        assert [t.name for t in SCHEMAS.tables.values() if t.matches(name)] == [name.split(".")[-2]]
    assert not any(t.matches("plan.tsv") or t.matches("pbmc.dropped_cells.tsv") for t in SCHEMAS.tables.values())


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("scores", list(scoring.COLUMNS)),
        ("probing", [*IDENTITY, *PAIR_COLUMNS, *rows.COLUMNS]),
        ("centroids", list(centroids.COLUMNS)),
        ("design", list(design_rows.COLUMNS)),
        ("totals", [*totals.COLUMNS, *ranking.COLUMNS]),
    ],
)
def test_what_a_step_writes_are_the_columns_of_the_schema(name: str, columns: list[str]) -> None:
    assert columns == SCHEMAS.columns(name)


@pytest.mark.parametrize(("kind", "name"), [("scores", "scores"), ("probing", "probing"), ("scores", "centroids")])
def test_the_tables_of_a_stub_fit_their_schema(tmp_path: Path, kind: str, name: str) -> None:
    identity = {"dataset": "d", "embedding": "pca.raw.0", "method": "pca", "correction": "raw", "seed": 0}
    write_json(tmp_path / "d.pca.raw.0.json", identity | {"family": "none"})
    STUBS[kind](Namespace(id="d.pca.raw.0", family="none", outdir=tmp_path, sidecars=[tmp_path / "d.pca.raw.0.json"]))
    table = read_typed(tmp_path / f"d.pca.raw.0.{name}.tsv", name, SCHEMAS)
    assert len(table)
    SCHEMAS.check(table, name)


def test_a_table_that_is_not_there_is_named() -> None:
    with pytest.raises(ScfmError, match=r"schema_nothing\.json does not exist"):
        SCHEMAS.load("nothing")


def test_the_design_of_a_stub_fits_its_schema(tmp_path: Path) -> None:
    STUBS["design"](Namespace(dataset="d", outdir=tmp_path))
    table = read_typed(tmp_path / "d.design.tsv", "design", SCHEMAS)
    assert table["text"].tolist() == ["not_declared"]
    SCHEMAS.check(table, "design")
