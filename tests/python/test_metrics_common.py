"""The second scoring pass: ranks are based on the cells that all ranked embeddings have (issue 12, point 6)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers_metrics import SIDECAR
from helpers_modules import ASSETS, INPUTS, call
from scfm.errors import ScfmError
from scfm.io.tables import read_embedding, read_ids, read_json, read_table, write_embedding, write_json
from scfm.metrics.common_cells import find_common_cells, lacks_cells
from scfm.report.tables.load import PLAN_COLUMNS

OBS = INPUTS / "tiny.obs.parquet"
IDS, VALUES = read_embedding(INPUTS / "tiny.pca.parquet")


def write(folder: Path, method: str, keep: np.ndarray, **facts: object) -> tuple[dict, Path]:
    """Write the PCA of some cells as an embedding of its own, with its sidecar."""
    sidecar = SIDECAR | {"dataset": "tiny", "method": method, "correction": "raw"} | facts
    sidecar |= {"embedding": f"{method}.{sidecar['correction']}.0", "cells_in": len(IDS), "cells_out": int(keep.sum())}
    stem = folder / f"tiny.{sidecar['embedding']}"
    write_embedding(f"{stem}.parquet", IDS[keep], VALUES[keep])
    write_json(f"{stem}.json", sidecar)
    return sidecar, Path(f"{stem}.parquet")


def first(n_missing: int) -> np.ndarray:
    """All cells but the first ones."""
    return np.arange(len(IDS)) >= n_missing


def hardest(share: float) -> np.ndarray:
    """Which cells to keep so that those nearest to the middle of another label are gone."""
    labels = pd.read_parquet(OBS).set_index("cell_id")["label"].loc[list(IDS)].to_numpy()
    centres = {name: VALUES[labels == name].mean(axis=0) for name in np.unique(labels)}
    gaps = {name: np.linalg.norm(VALUES - centre, axis=1) for name, centre in centres.items()}
    own = np.array([gaps[name][i] for i, name in enumerate(labels)])
    other = np.min([np.where(labels == name, np.inf, gap) for name, gap in gaps.items()], axis=0)
    return np.argsort(np.argsort(other - own)) >= share * len(IDS)


def test_common_cells_are_those_of_all_ranked_embeddings(tmp_path: Path) -> None:
    everything = [
        write(tmp_path, "pca", first(0)),
        write(tmp_path, "nearly", first(10)),
        write(tmp_path, "other", ~np.isin(np.arange(len(IDS)), [50, 51])),
        write(tmp_path, "half", first(90)),
        write(tmp_path, "reader", first(17)),
        write(tmp_path, "shuffled", first(0), is_control=True),
        write(tmp_path, "twin", first(12), is_control=True),
    ]
    found = find_common_cells(everything, OBS, label_readers={"reader"})
    assert found.cells == tuple(sorted(set(IDS[10:]) - set(IDS[50:52])))
    assert found.ranked == ("nearly.raw.0", "other.raw.0", "pca.raw.0") and found.differ
    # a control that lacks common cells can't be scored on them
    assert found.embeddings == ("nearly.raw.0", "other.raw.0", "pca.raw.0", "shuffled.raw.0")
    assert find_common_cells(everything, OBS, label_readers={"reader"}, min_coverage=0.5).cells == tuple(
        sorted(set(IDS[90:]))
    )
    assert lacks_cells(everything[1][0]) and not lacks_cells(everything[0][0]) and not lacks_cells(everything[-1][0])


@pytest.mark.parametrize("methods", [["pca", "half"], ["nearly", "same", "half"], ["half"]])
def test_no_second_pass_where_ranked_embeddings_have_the_same_cells(tmp_path: Path, methods: list[str]) -> None:
    keep = {"pca": first(0), "nearly": first(10), "same": first(10), "half": first(90)}
    paths = [write(tmp_path, name, keep[name])[1] for name in methods]
    call(
        "list_common_cells",
        dataset="tiny",
        embeddings=paths,
        sidecars=[path.with_suffix(".json") for path in paths],
        obs=OBS,
        methods_table=ASSETS / "methods.tsv",
        corrections_table=ASSETS / "corrections.tsv",
        outdir=tmp_path,
    )
    assert (tmp_path / "tiny.common_cells.parquet").stat().st_size == 0
    facts = read_json(tmp_path / "tiny.common.json")
    assert (facts["differ"], facts["embeddings"]) == (False, [])


def test_a_table_without_its_sidecar_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "pca", first(0))[1]
    options = {"obs": OBS, "methods_table": ASSETS / "methods.tsv", "corrections_table": ASSETS / "corrections.tsv"}
    other = write(tmp_path, "nearly", first(10))[1].with_suffix(".json")
    with pytest.raises(ScfmError, match=r"2 embeddings have a table or a sidecar but not both, first: tiny\.nearly"):
        call("list_common_cells", dataset="tiny", embeddings=[path], sidecars=[other], **options, outdir=tmp_path)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One embedding three times: whole, without its hardest cells, and without so many that it is not ranked."""
    folder = tmp_path_factory.mktemp("common")
    keep = {"pca": first(0), "easy": hardest(0.09), "easier": hardest(0.3)}
    for method, cells in keep.items():
        path = write(folder, method, cells)[1]
        for step in ("embed", "validate"):
            about = {"dataset": "tiny", "embedding": f"{method}.raw.0", "step": step}
            write_json(
                folder / f"tiny.{method}.raw.0.{step}.status.json",
                about | {"status": "ok", "reason": "", "reason_code": ""},
            )
        given = {"embedding": path, "sidecar": path.with_suffix(".json"), "obs": OBS}
        call("find_neighbors", **given, outdir=folder)
        knn = path.with_suffix(".knn.npz")
        call("score_embedding", **given, knn=knn, pca=INPUTS / "tiny.pca.parquet", outdir=folder)
    call(
        "list_common_cells",
        dataset="tiny",
        embeddings=sorted(folder.glob("*.raw.0.parquet")),
        sidecars=sorted(folder.glob("*.raw.0.json")),
        obs=OBS,
        methods_table=ASSETS / "methods.tsv",
        corrections_table=ASSETS / "corrections.tsv",
        outdir=folder,
    )
    for method in read_json(folder / "tiny.common.json")["embeddings"]:
        path = folder / f"tiny.{method}.parquet"
        given = {"embedding": path, "sidecar": path.with_suffix(".json"), "obs": OBS}
        cells = folder / "tiny.common_cells.parquet"
        call("score_common_cells", **given, cells=cells, pca=INPUTS / "tiny.pca.parquet", outdir=folder)
    plan = pd.DataFrame(
        {"method": list(keep), "embedding": [f"{m}.raw.0" for m in keep], "dataset": "tiny", "family": "imported"}
    ).assign(correction="raw", seed=0, is_control="false", output_type="embedding")
    plan.reindex(columns=list(PLAN_COLUMNS), fill_value="").to_csv(folder / "plan.tsv", sep="\t", index=False)
    shutil.copy(INPUTS / "tiny.facts.json", folder)
    return folder


def collect(folder: Path) -> dict[str, pd.DataFrame]:
    """Collect, and return the tables."""
    params = read_json(INPUTS / "params.json") | {"skip_probing": True, "skip_umap": True}
    write_json(folder / "params.json", params)
    call(
        "collect_results",
        plan=folder / "plan.tsv",
        datasets=INPUTS / "datasets.json",
        results=[path for path in folder.iterdir() if path.is_file()],
        metrics_table=ASSETS / "metrics.tsv",
        methods_table=ASSETS / "methods.tsv",
        params=folder / "params.json",
        outdir=folder / "tables",
    )
    tables = {name: read_table(folder / "tables" / f"{name}.tsv") for name in ("scores", "scores_common", "status")}
    totals = read_table(folder / "tables" / "totals.tsv").query("scaling == 'raw' and bio_weight == 0.6")
    messages = read_json(folder / "tables" / "warnings.json")
    return tables | {"totals": totals.set_index("method"), "messages": messages}


def test_the_same_embedding_without_its_hardest_cells_ranks_like_the_whole_one(results: Path) -> None:
    tables = collect(results)
    totals = tables["totals"]
    # before: fewer and easier cells give a higher total
    assert totals.loc["easy", "total"] > totals.loc["pca", "total"] + 0.005
    assert totals.loc["easier", "total"] > totals.loc["pca", "total"] + 0.02
    # after: on the same cells the same embedding has the same total
    assert totals.loc["easy", "rank_total"] == pytest.approx(totals.loc["pca", "rank_total"], abs=1e-12)
    assert totals["rank_reason"].to_dict() == {"pca": "", "easy": "", "easier": "incomplete"}
    cells = read_ids(results / "tiny.common_cells.parquet")
    assert set(tables["scores_common"]["embedding"]) == {"pca.raw.0", "easy.raw.0"}
    whole = tables["scores_common"].query("group == 'all' and metric == 'ilisi'")
    assert set(whole["n_cells"]) == {len(cells)} == {int(hardest(0.09).sum())}
    # own scores stay what they are
    own = tables["scores"].query("group == 'all' and metric == 'ilisi'").set_index("method")["n_cells"]
    assert own.to_dict() == {"pca": len(IDS), "easy": len(cells), "easier": int(hardest(0.3).sum())}
    told = {m["code"]: m["text"] for m in tables["messages"]}
    assert f"{len(cells)} of {len(IDS)} scored cells (91%)" in told["I-RANK-01"]
    assert "W-RANK-02" not in told and "easier" in told["W-RANK-01"]
    steps = tables["status"].set_index(["embedding", "step"])["status"]
    assert (steps.loc["easy.raw.0", "score_common"], steps.loc["pca.raw.0", "score_common"]) == ("ok", "ok")
    assert ("easier.raw.0", "score_common") not in steps.index


def test_a_second_pass_that_left_nothing_is_a_failed_step_and_no_rank(results: Path, tmp_path: Path) -> None:
    lost = shutil.copytree(results, tmp_path / "lost")
    for path in lost.glob("tiny.easy.raw.0.score*common*"):
        path.unlink()
    tables = collect(lost)
    assert tables["totals"]["rank_reason"].to_dict() == {"pca": "", "easy": "no_common_total", "easier": "incomplete"}
    steps = tables["status"].set_index(["embedding", "step"])
    assert steps.loc[("easy.raw.0", "score_common"), "reason_code"] == "no_result"
    assert "'easy'" in next(m["text"] for m in tables["messages"] if m["code"] == "W-RANK-02")

    for path in [*lost.glob("tiny.pca.raw.0.score*common*"), *lost.glob("tiny.common*")]:
        path.unlink()
    tables = collect(lost)
    assert tables["totals"]["rank_total"].isna().all()
    steps = tables["status"].set_index(["embedding", "step"])["status"].xs("score_common", level="step")
    assert steps.to_dict() == dict.fromkeys(("pca.raw.0", "easy.raw.0", "easier.raw.0"), "failed")


def test_a_cell_that_an_embedding_lacks_fails_its_second_pass_alone(results: Path, tmp_path: Path) -> None:
    path = results / "tiny.easier.raw.0.parquet"
    given = {"embedding": path, "sidecar": path.with_suffix(".json"), "obs": OBS, "pca": INPUTS / "tiny.pca.parquet"}
    call("score_common_cells", **given, cells=results / "tiny.common_cells.parquet", outdir=tmp_path)
    status = read_json(tmp_path / "tiny.easier.raw.0.score_common.status.json")
    assert status["status"] == "failed" and "cells are not in it" in status["reason"]
    assert (tmp_path / "tiny.easier.raw.0.scores_common.tsv").stat().st_size == 0
    with pytest.raises(ScfmError, match="cells are not in it"):
        call(
            "score_common_cells",
            **given,
            cells=results / "tiny.common_cells.parquet",
            on_error="stop",
            outdir=tmp_path,
        )
