"""scVI decoded as the design allows, and the alarm where it finds next to nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from helpers_de_tables import gene_table
from helpers_expression import planted_cells, write_prepared
from helpers_modules import call
from scfm.expression.compare import Study
from scfm.expression.notes import zero_de
from scfm.expression.rows import PSEUDOBULK, SCVI, SCVI_ALL_BATCHES, Result
from scfm.expression.settings import DeSettings, DesignChoice
from scfm.io.tables import write_json

NESTED = {"design": "condition", "class": "nested", "reason_code": "not_estimable", "reason": "Batches in one."}


def results(n_bulk: int, **by_analysis: int) -> list[Result]:
    """Return a pseudobulk result, and analyses of the model with as many genes as given."""
    about = ("B", "stim", "ctrl")
    found = [Result(*about, PSEUDOBULK, gene_table(), {"n_significant_in_model": n_bulk})]
    return found + [Result(*about, a, gene_table(), {"n_significant": n}) for a, n in by_analysis.items()]


@pytest.mark.parametrize(
    ("n_bulk", "found", "rows"),
    [
        (188, {SCVI: 90, SCVI_ALL_BATCHES: 0}, [("W-DE-01", "nested in conditions")]),
        (188, {SCVI: 4}, [("W-DE-01", "does not explain")]),
        (20, {SCVI: 0, SCVI_ALL_BATCHES: 0}, []),
        (188, {SCVI: 5, SCVI_ALL_BATCHES: 5}, []),
    ],
)
def test_the_alarm_names_the_nesting_only_where_that_explains_it(
    n_bulk: int, found: dict[str, int], rows: list[tuple[str, str]]
) -> None:
    study = Study(None, None, None, DesignChoice("condition", "nested", "", ""), DeSettings())
    told = zero_de(study, results(n_bulk, **found))
    assert [m["code"] for m in told] == [code for code, _ in rows]
    assert all(text in m["text"] and "188" in m["text"] for m, (_, text) in zip(told, rows, strict=True))


def compared(folder: Path, *, n_genes: int, n_changed: int, n_cells: int, epochs: int) -> pd.DataFrame:
    """Train scVI on batches that are nested in conditions, compare conditions, and return ``de.tsv`` by analysis."""
    from scfm.integration.base import MethodInputs
    from scfm.integration.scvi import DEFAULTS, integrate

    data = planted_cells(
        labels=("A",), n_cells=n_cells, n_genes=n_genes, n_changed=n_changed, paired=False, batch="sample"
    )
    files = write_prepared(data, folder, NESTED)
    inputs = MethodInputs("sim", files["obs"], folder, prepared_path=files["prepared"], device="cpu")
    settings = DEFAULTS | {"max_epochs": epochs, "n_latent": 10, "n_layers": 1, "batch_size": 64}
    made = integrate(inputs, settings | {"early_stopping_patience": 0}, 0)
    write_json(folder / "side.json", {"settings": settings, "embedding": "scvi.raw.0"})
    write_json(folder / "params.json", {})
    more = {"model": made.extras["model"], "sidecar": folder / "side.json", "params": folder / "params.json"}
    call("compare_conditions", dataset="sim", **files, **more, outdir=folder, on_error="stop")
    return pd.read_csv(folder / "sim.de.tsv", sep="\t").set_index("analysis")


def test_a_model_is_read_with_its_genes_and_gives_the_same_numbers_again(tmp_path: Path) -> None:
    rows = compared(tmp_path, n_genes=60, n_changed=10, n_cells=12, epochs=2)
    assert list(rows.index) == ["pseudobulk", "scvi", "scvi_all_batches"]
    assert (rows.loc["scvi":, "n_genes"] == 60).all() and (rows.loc["scvi":, "model"] == "scvi.raw.0").all()
    assert rows.loc["pseudobulk", "n_significant_in_model"] == rows.loc["pseudobulk", "n_significant"]
    first = pd.read_parquet(tmp_path / "sim.de" / "01_A.parquet")
    more = {"model": tmp_path / "model", "sidecar": tmp_path / "side.json", "params": tmp_path / "params.json"}
    files = {kind: tmp_path / f"sim.{kind}.{ending}" for kind, ending in _ENDINGS.items()}
    call("compare_conditions", dataset="sim", **files, **more, outdir=tmp_path, on_error="stop")
    pd.testing.assert_frame_equal(first, pd.read_parquet(tmp_path / "sim.de" / "01_A.parquet"))


_ENDINGS = {"prepared": "h5ad", "obs": "parquet", "design": "json"}


@pytest.mark.slow
def test_correction_over_all_batches_loses_genes_of_a_nested_condition(tmp_path: Path) -> None:
    rows = compared(tmp_path, n_genes=300, n_changed=100, n_cells=80, epochs=100)["n_significant"]
    assert rows["pseudobulk"] > 90 and rows["scvi"] > 90
    assert rows["scvi_all_batches"] < 0.75 * rows["scvi"]
