"""Every embedding names the preparation that it was made from; one made from another preparation is an error."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from helpers_modules import ASSETS, call
from helpers_report import plan_rows, sidecar_of
from scfm.embeddings.preparation import PREPARATION, one_preparation, preparation_of
from scfm.errors import ScfmError
from scfm.io.tables import read_json, write_json
from scfm.report.tables.names import Names
from scfm.report.tables.preparations import made_from, other_preparations

SOURCE = Path(__file__).resolve().parents[1] / "data" / "modules"
FILES = ("tiny.obs.parquet", "tiny.pca.parquet", "tiny.prepared.h5ad")


def prepare(folder: Path, **params: object) -> str:
    """Prepare the small data set of the modules; return the preparation that its facts name."""
    folder.mkdir()
    write_json(folder / "params.json", read_json(SOURCE / "params.json") | params)
    given = {"dataset": "tiny", "datasets": SOURCE / "datasets.json", "h5ad": SOURCE / "tiny.h5ad"}
    call("prepare_dataset", **given, params=folder / "params.json", outdir=folder)
    return read_json(folder / "tiny.facts.json")[PREPARATION]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The data set prepared twice alike, and once with fewer variable genes."""
    folder = tmp_path_factory.mktemp("preparations")
    for name, params in {"first": {}, "again": {}, "fewer": {"n_hvg": 60}}.items():
        prepare(folder / name, **params)
    return {name: folder / name for name in ("first", "again", "fewer")}


def test_all_files_of_a_preparation_carry_its_digest_which_depends_on_what_was_prepared(
    folders: dict[str, Path],
) -> None:
    found = {name: {preparation_of(folder / file) for file in FILES} for name, folder in folders.items()}
    assert all(len(digests) == 1 for digests in found.values())
    assert found["first"] == found["again"] != found["fewer"]
    assert found["first"] == {read_json(folders["first"] / "tiny.facts.json")[PREPARATION]}


def test_methods_and_corrections_name_what_they_read_and_files_of_two_preparations_are_an_error(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    first, fewer = folders["first"], folders["fewer"]
    given = {"dataset": "tiny", "params": first / "params.json", "methods_table": ASSETS / "methods.tsv"}
    paths = {"obs": first / FILES[0], "pca": first / FILES[1], "prepared": first / FILES[2]}
    call("integrate_cells", method="pca", **given, **paths, outdir=tmp_path, on_error="stop")
    stem = tmp_path / "tiny.pca.raw.0"
    digest = preparation_of(paths["obs"])
    assert read_json(f"{stem}.unchecked.json")[PREPARATION] == digest
    unchecked = {"embedding": f"{stem}.unchecked.parquet", "sidecar": f"{stem}.unchecked.json"}
    call("validate_embedding", **unchecked, obs=paths["obs"], outdir=tmp_path, on_error="stop")
    assert read_json(f"{stem}.json")[PREPARATION] == digest
    with pytest.raises(ScfmError, match="must come from one preparation; these come from 2"):
        one_preparation([paths["obs"], fewer / FILES[1], None])
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    shutil.copy(fewer / FILES[1], mixed)
    with pytest.raises(ScfmError, match="Prepare the data set again"):
        call(
            "integrate_cells",
            method="pca",
            **given,
            **paths | {"pca": mixed / FILES[1]},
            outdir=mixed,
            on_error="stop",
        )


def sidecars(digests: dict[str, str | None]) -> list[dict[str, Any]]:
    """Return sidecars of ``{method: preparation}``."""
    rows = plan_rows(("d",), tuple(digests))
    return [sidecar_of(row, 100) | {PREPARATION: digests[row.method]} for row in rows.itertuples()]


def test_an_embedding_of_another_preparation_is_named_and_imported_ones_are_not_compared() -> None:
    facts = {"d": {PREPARATION: "aa"}}
    names = Names(methods={"harmony": "Harmony"})
    alike = sidecars({"pca": "aa", "harmony": "aa"})
    assert other_preparations(facts, alike, names) == []
    told = other_preparations(facts, sidecars({"pca": "aa", "harmony": "bb", "scvi": None}), names)
    (entry,) = told
    assert (entry["code"], entry["severity"], entry["method"]) == ("E-PREP-01", "error", "harmony")
    assert entry["values"]["preparations"] == ["bb"] and entry["values"]["expected"] == "aa"
    assert "Harmony ('harmony.center_l2.0'" in entry["text"] and "another preparation" in entry["text"]
    assert set(made_from(alike, "d").values()) == {"aa"} and made_from(alike, "other") == {}
