"""pbmc_ifnb with the condition as batch: the run says that the batch is biology, and what correcting for it costs."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from helpers_pipeline import PROJECT, Run, run_pipeline
from scfm.registries.reader import ASSETS
from scfm.registries.schemas import Schemas
from scfm.registries.typed import read_typed

DATA = PROJECT.parent / "shared" / "data" / "pbmc_ifnb.h5ad"
pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.slow,
    pytest.mark.shared_data,
    pytest.mark.skipif(not DATA.exists(), reason="the real data sets are not beside the checkout (../shared/data)"),
]
SCHEMAS = Schemas(ASSETS)
INTERFERON = {"ISG15", "IFI6", "IFIT1", "IFIT3", "MX1"}


@pytest.fixture(scope="module")
def ifnb(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Harmony beside the uncorrected PCA, diagnosed."""
    folder = tmp_path_factory.mktemp("ifnb")
    (folder / "sheet.csv").write_text(
        f"dataset,h5ad,batch_key,label_key,condition_key\nifnb,{DATA},condition,cell_type_marker,condition\n"
    )
    options = ("--input", "sheet.csv", "--methods", "pca,harmony", "--seeds", "0", "--skip_probing")
    run = run_pipeline(folder, *options)
    assert run.status == 0, run.log
    return run


def messages(run: Run) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for entry in json.loads((run.outdir / "tables" / "warnings.json").read_text()):
        found.setdefault(entry["code"], []).append(entry)
    return found


def of(run: Run, table: str, embedding: str) -> pd.DataFrame:
    rows = run.table(table)
    return rows[rows["embedding"] == embedding]


def test_the_tables_of_the_diagnosis_are_valid(ifnb: Run) -> None:
    names = ("design", "residual", "clusters", "markers", "overcorrection", "balanced", "de", "de_genes")
    for name in names:
        table = read_typed(ifnb.outdir / "tables" / f"{name}.tsv", name, SCHEMAS)
        SCHEMAS.check(table, name)
        assert len(table), name


def test_the_batch_is_said_to_be_biology(ifnb: Run) -> None:
    (entry,) = messages(ifnb)["E-CONF-01"]
    assert "'condition' is the batch and biology at once" in entry["text"]
    assert "W-CONF-04" in messages(ifnb)


def test_interferon_genes_lead_the_ranking_of_monocytes_and_p_values_are_withheld(ifnb: Run) -> None:
    rows = ifnb.table("de")
    ranked = rows[(rows["analysis"] == "ranking") & (rows["status"] == "ok")].set_index("label")
    monocytes = [label for label in ranked.index if "mono" in label.lower()]
    assert monocytes
    for label in monocytes:
        assert set(ranked.loc[label, "top_genes"].split(", ")) >= INTERFERON, label
    assert set(rows.loc[rows["analysis"] == "pseudobulk", "reason"]) == {"no_replicates"}
    assert ifnb.table("de_genes")["p_value"].isna().all() and "W-DE-02" in messages(ifnb)


def test_what_splits_the_uncorrected_monocytes_is_called_interferon(ifnb: Run) -> None:
    rows = of(ifnb, "residual", "pca.raw.0")
    pairs = rows[rows["significant"].astype(str).str.lower() == "true"]
    monocytes = pairs[pairs["label"].str.lower().str.contains("mono")]
    assert len(monocytes) and set(monocytes["cause"]) == {"interferon"}
    told = [m for m in messages(ifnb)["W-RES-01"] if m["embedding"] == "pca.raw.0" and "mono" in m["text"].lower()]
    assert any("interferon response" in m["text"] and "state of the cells" in m["advice"] for m in told)


def test_harmony_on_the_condition_is_over_correction(ifnb: Run) -> None:
    rows = of(ifnb, "overcorrection", "harmony.raw.0")
    probe = rows[(rows["test"] == "biology_probe") & (rows["label"] == "all")].iloc[0]
    assert probe["before"] > 0.8 and probe["value"] > probe["limit"] and str(probe["failed"]).lower() == "true"
    (entry,) = [m for m in messages(ifnb)["W-OVER-01"] if m["text"].startswith("Harmony shows")]
    assert "stratified" in probe["folds"] and "folds without donors" in entry["text"]
    before = of(ifnb, "overcorrection", "pca.raw.0").query("test == 'biology_probe' and label == 'all'").iloc[0]
    assert str(before["failed"]).lower() == "false"
