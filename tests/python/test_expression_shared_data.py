"""Interferon response in real cells: without replicates the genes are ranked, and the known ones come first."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from helpers_expression import Planted, write_prepared
from helpers_modules import call
from scfm.io.tables import read_json, write_json

IFNB = Path(__file__).resolve().parents[3] / "shared" / "data" / "pbmc_ifnb.h5ad"


@pytest.mark.shared_data
@pytest.mark.skipif(not IFNB.is_file(), reason=f"{IFNB} is not there")
def test_interferon_genes_lead_the_ranking_of_monocytes(tmp_path: Path) -> None:
    import anndata as ad

    adata = ad.read_h5ad(IFNB)
    condition = adata.obs["condition"].astype(str)
    cells = pd.DataFrame({"label": adata.obs["cell_type_marker"].astype(str), "condition": condition})
    cells = cells.assign(batch=condition, sample=condition, donor=None, scored=True).rename_axis("cell_id")
    data = Planted(cells, adata.X.toarray(), adata.var_names.to_numpy(dtype=object), set())
    why = {"reason_code": "no_replicates", "reason": "One sample a condition."}
    nested = {"design": "none", "class": "nested", **why}
    files = write_prepared(data, tmp_path, nested)
    write_json(tmp_path / "params.json", {})
    call("compare_conditions", dataset="sim", **files, params=tmp_path / "params.json", outdir=tmp_path)
    rows = pd.read_csv(tmp_path / "sim.de.tsv", sep="\t", keep_default_na=False)
    assert set(rows.loc[rows["analysis"] == "pseudobulk", "reason"]) == {"no_replicates"}
    ranked = rows[(rows["analysis"] == "ranking") & (rows["status"] == "ok")].set_index("label")
    monocytes = [label for label in ranked.index if "mono" in label.lower()]
    assert monocytes
    for label in monocytes:
        first = {symbol.removeprefix("sym") for symbol in ranked.loc[label, "top_genes"].split(", ")}
        assert {"ISG15", "IFI6", "IFIT1", "IFIT3", "MX1"} <= first, label
    codes = {m["code"] for m in read_json(tmp_path / "sim.de.status.json")["warnings"]}
    assert "W-DE-02" in codes and "I-DE-01" not in codes
