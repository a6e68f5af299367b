"""COMPARE_CONDITIONS on planted differences: each design gets its analysis, and each mistake its message."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from helpers_expression import Planted, planted_cells, write_prepared
from helpers_modules import ASSETS, call
from scfm.errors import ScfmError
from scfm.expression.settings import DeSettings, DesignChoice
from scfm.io.tables import read_json, write_json
from scfm.registries.schemas import Schemas
from scfm.registries.typed import read_typed

SCHEMAS = Schemas(ASSETS)
PAIRED = {
    "design": "donor + condition",
    "class": "crossed",
    "reason_code": "paired",
    "reason": "Donors in both.",
}
NESTED = {
    "design": "condition",
    "class": "nested",
    "reason_code": "not_estimable",
    "reason": "Batches in one.",
}


class Compared:
    """What the executable leaves."""

    def __init__(self, data: Planted, folder: Path, de: dict[str, str], **params: object) -> None:
        files = write_prepared(data, folder, de)
        write_json(folder / "params.json", {"seeds": "0", **params})
        call("compare_conditions", dataset="sim", **files, params=folder / "params.json", outdir=folder)
        self.status = read_json(folder / "sim.de.status.json")
        self.folder = folder
        if self.status["status"] == "ok":
            self.rows = read_typed(folder / "sim.de.tsv", "de", SCHEMAS)
            self.genes = read_typed(folder / "sim.de_genes.tsv", "de_genes", SCHEMAS)
            SCHEMAS.check(self.rows, "de")
            SCHEMAS.check(self.genes, "de_genes")

    def codes(self) -> set[str]:
        """Codes of the messages."""
        return {m["code"] for m in self.status["warnings"]}


@pytest.fixture(scope="module")
def crossed(tmp_path_factory) -> tuple[Planted, Compared]:
    """Five donors in both conditions, a donor a batch."""
    data = planted_cells(n_donors=5, labels=("A",), n_genes=150, n_changed=30)
    return data, Compared(data, tmp_path_factory.mktemp("crossed"), PAIRED)


def test_planted_genes_are_found_and_the_null_finds_none(crossed) -> None:
    data, found = crossed
    (row,) = found.rows.to_dict("records")
    assert (row["status"], row["design"], row["n_level"], row["n_reference"]) == ("ok", "donor + condition", 5, 5)
    full = pd.read_parquet(found.folder / "sim.de" / row["file"])
    called = set(full.loc[full["is_significant"].eq(True), "gene"])
    assert len(called) == row["n_significant"]
    assert len(called & data.changed) > 20 and len(called - data.changed) <= 5
    assert row["null_observed"] > 20 and row["null_median"] <= 1 and row["n_permutations"] == 15
    assert {"I-DE-01", "W-DE-03"} == found.codes()


def test_the_first_genes_are_those_of_the_full_table_with_their_symbols(crossed) -> None:
    _, found = crossed
    full = pd.read_parquet(found.folder / "sim.de" / "01_A.parquet")
    assert len(full) == found.rows["n_genes"].item() and len(found.genes) == 50
    assert list(found.genes["gene"]) == list(full["gene"][:50])
    assert full["p_value"].is_monotonic_increasing
    assert found.rows["top_genes"].item().split(", ") == ["sym" + g for g in full["gene"][:20]]


def test_a_crossed_comparison_is_conserved_inside_batches(crossed) -> None:
    (row,) = crossed[1].rows.to_dict("records")
    assert row["lfc_spearman"] > 0.9 and row["auprc"] > 0.7 > row["auprc_chance"] and row["conservation_reason"] == ""


def test_samples_without_replicates_are_ranked_and_p_values_withheld(tmp_path: Path) -> None:
    data = planted_cells(n_donors=2, labels=("A",), n_genes=100, n_changed=10, paired=False, batch="sample", effect=2)
    found = Compared(data, tmp_path, NESTED)
    rows = found.rows.set_index("analysis")
    assert rows.loc["pseudobulk", "reason"] == "few_replicates"
    assert rows.loc["ranking", "status"] == "ok" and pd.isna(rows.loc["ranking", "n_significant"])
    assert found.genes[["p_value", "q_value", "is_significant"]].isna().all(axis=None)
    assert len(set(found.genes["gene"][:10]) & data.changed) >= 8
    (told,) = [m for m in found.status["warnings"] if m["code"] == "W-DE-02"]
    assert told["values"]["labels"] == ["A"] and "no replicates" in told["text"]


def test_dealing_the_cells_of_a_donor_into_samples_makes_no_replicates(tmp_path: Path) -> None:
    data = planted_cells(n_donors=2, labels=("A",), n_genes=60, n_changed=6, paired=False, batch="sample")
    dealt = data.cells["donor"] + [str(i % 3) for i in range(len(data.cells))]
    data = Planted(data.cells.assign(sample=dealt, batch=dealt), data.counts, data.genes, data.changed)
    rows = Compared(data, tmp_path, NESTED).rows.set_index("analysis")
    assert rows.loc["pseudobulk", "reason"] == "few_replicates" and "ranking" in rows.index


def test_a_donor_in_several_batches_is_one_unit_of_the_test_with_the_batch(tmp_path: Path) -> None:
    """Six donors on two lanes each are six units: as twelve, ten genes were called that differ between donors only."""
    data = planted_cells(n_donors=6, labels=("A",), n_cells=60, n_genes=300, n_changed=0, paired=False, seed=3)
    lanes = [f"lane{i % 2}" for i in range(len(data.cells))]
    data = Planted(data.cells.assign(batch=lanes), data.counts, data.genes, data.changed)
    design = {**PAIRED, "design": "batch + condition", "reason_code": "estimable"}
    (row,) = Compared(data, tmp_path, design).rows.to_dict("records")
    assert (row["n_level"], row["n_reference"], row["n_permutations"]) == (3, 3, 9)
    assert row["n_significant"] == 0
    # lanes of the same donors agree on what differs between these donors
    assert row["conservation_reason"] == "not_crossed" and pd.isna(row["n_consensus"])


def test_a_condition_without_donors_is_not_compared_and_takes_no_other_with_it(tmp_path: Path) -> None:
    """The donor of one condition is missing in one label: its cells are in no unit, and so in no ranking."""
    data = planted_cells(n_donors=2, labels=("A", "B"), n_cells=12, n_genes=40, n_changed=4, paired=False, batch="lane")
    gone = (data.cells["label"] == "A") & (data.cells["condition"] == "c1")
    cells = data.cells.assign(donor=data.cells["donor"].mask(gone, None))
    found = Compared(Planted(cells, data.counts, data.genes, data.changed), tmp_path, NESTED)
    rows = found.rows.set_index(["label", "analysis"])
    assert rows.loc[("A", "pseudobulk"), "reason"] == "few_replicates"
    assert rows.loc[("A", "ranking"), "reason"] == "few_cells" and rows.loc[("A", "ranking"), "n_cells_level"] == 0
    assert "'c1' has 0 cells of this label with a replicate" in rows.loc[("A", "ranking"), "explanation"]
    assert rows.loc[("B", "ranking"), "status"] == "ok" and "W-DE-05" in found.codes()


def test_a_label_that_lacks_a_condition_has_a_row_with_its_reason(tmp_path: Path) -> None:
    data = planted_cells(n_donors=2, labels=("A", "B", "C"), n_cells=12, n_genes=30, n_changed=3)
    label, condition = data.cells["label"], data.cells["condition"]
    kept = ~((label == "B") & (condition == "c0") | (label == "C") & (condition == "c1"))
    data = Planted(data.cells[kept], data.counts[kept.to_numpy()], data.genes, data.changed)
    rows = Compared(data, tmp_path, PAIRED).rows.set_index("label")
    assert rows["analysis"].tolist() == ["pseudobulk"] * 3 and rows.loc["A", "status"] == "ok"
    assert rows.loc["B":, "reason"].tolist() == ["no_cells"] * 2
    assert "'c0'" in rows.loc["B", "explanation"] and rows.loc["B", "n_cells_reference"] == 0
    assert "'c1'" in rows.loc["C", "explanation"] and rows.loc["C", "n_cells_reference"] == 24
    apart = data.cells["label"].isin(["B", "C"])
    alone = Planted(data.cells[apart], data.counts[apart.to_numpy()], data.genes, data.changed)
    assert Compared(alone, tmp_path, PAIRED).status["reason_code"] == "no_common_label"


def test_a_design_without_test_gives_a_ranking_and_a_data_set_without_condition_a_status(tmp_path: Path) -> None:
    data = planted_cells(n_donors=2, labels=("A",), n_cells=12, n_genes=30, n_changed=3)
    why = {"reason_code": "no_replicates", "reason": "Fewer than two conditions have two samples."}
    refused = {"design": "none", "class": "partial", **why}
    rows = Compared(data, tmp_path, refused).rows.set_index("analysis")
    assert (rows.loc["pseudobulk", "reason"], rows.loc["pseudobulk", "explanation"]) == (*why.values(),)
    assert rows.loc["ranking", "status"] == "ok" and rows.loc["ranking", "design"] == ""
    bare = Planted(data.cells.assign(condition=None), data.counts, data.genes, data.changed)
    found = Compared(bare, tmp_path, refused)
    assert (found.status["status"], found.status["reason_code"]) == ("not_applicable", "no_condition")
    assert (tmp_path / "sim.de.tsv").exists()


def test_a_failure_leaves_a_status_and_empty_outputs(tmp_path: Path) -> None:
    data = planted_cells(n_donors=2, labels=("A",), n_cells=12, n_genes=30, n_changed=3)
    files = write_prepared(data, tmp_path, PAIRED)
    data.cells.iloc[:5].set_axis([f"other{i}" for i in range(5)]).rename_axis("cell_id").reset_index().to_parquet(
        files["obs"]
    )
    (tmp_path / "params.json").write_text("{}")
    call("compare_conditions", dataset="sim", **files, params=tmp_path / "params.json", outdir=tmp_path)
    status = json.loads((tmp_path / "sim.de.status.json").read_text())
    assert status["status"] == "failed" and "5 of 5 cells of the obs table are not in it" in status["reason"]
    assert [(tmp_path / f"sim.{name}").stat().st_size for name in ("de.tsv", "de_genes.tsv")] == [0, 0]
    assert (tmp_path / "sim.de").is_dir()


def test_the_settings_are_parameters_of_the_run_and_the_design_must_be_there() -> None:
    found = DeSettings.from_params({"de_fdr": 0.1, "de_reference": None, "seeds": "7,8", "probe_seed": 1})
    assert (found.fdr, found.reference, found.seed, found.min_samples) == (0.1, "", 7, 2)
    known = {f"de_{name}" for name in DeSettings.__dataclass_fields__} - {"de_seed"}
    schema = read_json(ASSETS.parent / "nextflow_schema.json")["$defs"]["expression_options"]["properties"]
    assert set(schema) == known
    for name, rule in schema.items():
        assert rule.get("default", "") == getattr(DeSettings(), name.removeprefix("de_"))
    with pytest.raises(ScfmError, match="no entry 'de'"):
        DesignChoice.from_json({"pairs": []}, "x.design.json")
