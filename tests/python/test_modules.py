"""Every module's executable on the small real inputs of ``tests/data/modules``; ``docs/testing.md`` names each case.

The inputs are committed, so that a step that breaks takes no other's test with it; the last test makes them again.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import silhouette_score

from helpers_modules import ASSETS, INPUTS, MODEL_STEM, PROJECT, STEM, call, diagnosed, of_embedding, results_of
from scfm.errors import ScfmError
from scfm.io.tables import read_embedding, read_json, read_table, write_embedding
from scfm.registries.datasets import load_catalogue
from scfm.testing.mirror import load_mirror
from scfm.testing.serve import serve

N_CELLS = 180
PARAMS = INPUTS / "params.json"
OBS = INPUTS / "tiny.obs.parquet"


def rows_of(path: Path, ids: np.ndarray) -> np.ndarray:
    """Return the rows of an embedding table for some cells."""
    found, values = read_embedding(path)
    return pd.DataFrame(values, index=found).loc[list(ids)].to_numpy()


def status_of(folder: Path, step: str, stem: str = STEM) -> str:
    """Return the status that a step left."""
    return read_json(folder / f"{stem}.{step}.status.json")["status"]


@pytest.fixture
def obs() -> pd.DataFrame:
    """The cells of the data set, by id."""
    return read_table(OBS).set_index("cell_id")


# ---- inputs ----------------------------------------------------------------------------------------------------------


def test_resolve_inputs_names_the_download_and_the_recipe_of_a_scenario(tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text("dataset,h5ad,batch_key,label_key,recipe\nliver,scenario:liver,,,\n")
    call("resolve_inputs", input=tmp_path / "sheet.csv", params=PARAMS, outdir=tmp_path)
    assert (tmp_path / "errors.txt").read_text() == ""
    source, build = read_json(tmp_path / "sources.json")[0], read_json(tmp_path / "builds.json")[0]
    assert source["kind"] == "cellxgene"
    assert build["dataset"] == "liver"
    assert [item["key"] for item in build["sources"]] == [source["key"]]
    assert "liver.recipe.h5ad" in (tmp_path / "resolved" / "sheet.csv").read_text()


def test_fetch_dataset_downloads_what_the_record_says(tmp_path: Path) -> None:
    folder = PROJECT / "tests" / "data" / "study"
    listed = read_json(folder / "mirror.json")["collections"][0]["datasets"][0]
    spec = {"key": "mine", "kind": "cellxgene", "dataset_id": listed["dataset_id"], "ending": ".h5ad"}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    with serve(load_mirror(folder)) as api:
        call("fetch_dataset", spec=tmp_path / "spec.json", dest=tmp_path, api=api)
    record = read_json(tmp_path / "mine.source.json")
    original = folder / listed["file"]
    assert (tmp_path / "mine.h5ad").read_bytes() == original.read_bytes()
    assert record["filesize"] == original.stat().st_size
    assert record["dataset_id"] == listed["dataset_id"]


def test_apply_recipe_gives_the_batches_and_labels_of_the_catalogue(tmp_path: Path) -> None:
    import anndata as ad

    source = PROJECT / "tests" / "data" / "study" / "liver.h5ad"
    call(
        "apply_recipe",
        recipe=ASSETS / "recipes" / "liver.yml",
        dataset="liver",
        source=f"healthy={source}",
        outdir=tmp_path,
    )
    report = read_json(tmp_path / "liver.recipe.json")
    made = ad.read_h5ad(tmp_path / "liver.recipe.h5ad")
    assert report["n_cells"] == made.n_obs == 392
    assert report["sources"][0]["cells_kept"] == 392
    scenario = load_catalogue()["liver"]
    assert made.obs[scenario.batch_key].nunique() == scenario.n_batches
    assert made.obs[scenario.label_key].nunique() == scenario.n_labels


def test_check_inputs_plans_every_embedding(tmp_path: Path) -> None:
    call(
        "check_inputs",
        params=PARAMS,
        input=INPUTS / "samplesheet.csv",
        weights=INPUTS / "weights.json",
        outdir=tmp_path,
    )
    assert (tmp_path / "errors.txt").read_text() == ""
    data = read_json(tmp_path / "datasets.json")[0]
    assert (data["dataset"], data["n_cells"], data["n_genes"], data["counts_source"]) == ("tiny", N_CELLS, 200, "X")
    plan = read_table(tmp_path / "plan.tsv")
    methods = ("harmony", "sccello", "mine")
    expected = [f"{method}.{correction}.0" for method in methods for correction in ("raw", "l2", "center_l2")]
    assert sorted(plan["embedding"]) == sorted(expected)
    assert (plan["status"] == "").all()


def test_prepare_dataset_normalises_counts_and_keeps_batch_and_label_by_id(tmp_path: Path) -> None:
    import anndata as ad

    call(
        "prepare_dataset",
        dataset="tiny",
        datasets=INPUTS / "datasets.json",
        h5ad=INPUTS / "tiny.h5ad",
        params=PARAMS,
        outdir=tmp_path,
    )
    source, made = ad.read_h5ad(INPUTS / "tiny.h5ad"), ad.read_h5ad(tmp_path / "tiny.prepared.h5ad")
    assert list(made.obs_names) == sorted(source.obs_names)
    counts = pd.DataFrame(source.X.toarray(), source.obs_names, source.var_names).loc[made.obs_names]
    np.testing.assert_allclose(made.X.toarray(), np.log1p(1e4 * counts.div(counts.sum(axis=1), axis=0)), rtol=1e-5)
    np.testing.assert_array_equal(made.layers["counts"].toarray(), counts)
    table = read_table(tmp_path / "tiny.obs.parquet").set_index("cell_id")
    assert (table["batch"] == source.obs["batch"].astype(str).loc[table.index]).all()
    assert (table["label"] == source.obs["cell_type"].astype(str).loc[table.index]).all()
    assert read_json(tmp_path / "tiny.facts.json")["n_hvg"] == made.var["highly_variable"].sum() == 100


def test_describe_design_counts_cells_and_relates_donors_to_batches(tmp_path: Path) -> None:
    files = {name: INPUTS / f"tiny.{name}.parquet" for name in ("obs", "pca")}
    call(
        "describe_design",
        dataset="tiny",
        datasets=INPUTS / "datasets.json",
        prepared=INPUTS / "tiny.prepared.h5ad",
        params=PARAMS,
        outdir=tmp_path,
        **files,
    )
    table = pd.read_csv(tmp_path / "tiny.design.tsv", sep="\t", keep_default_na=False, na_values=["NA"])
    cells = table[(table["part"] == "cells") & (table["quantity"] == "n_cells")]
    expected = read_table(OBS).groupby(["batch", "label"]).size()
    assert cells.set_index(["batch", "label"])["value"].to_dict() == expected.to_dict()
    facts = read_json(tmp_path / "tiny.design.json")
    assert {p["column"]: p["relation"] for p in facts["pairs"]}["condition"] == "not_declared"
    assert facts["de"]["reason_code"] == "no_condition"


# ---- embeddings ------------------------------------------------------------------------------------------------------


def test_integrate_cells_brings_the_batches_closer(tmp_path: Path, obs: pd.DataFrame) -> None:
    call(
        "integrate_cells",
        method="harmony",
        dataset="tiny",
        prepared=INPUTS / "tiny.prepared.h5ad",
        obs=OBS,
        pca=INPUTS / "tiny.pca.parquet",
        params=PARAMS,
        methods_table=ASSETS / "methods.tsv",
        outdir=tmp_path,
    )
    ids, values = read_embedding(tmp_path / f"{STEM}.unchecked.parquet")
    assert sorted(ids) == sorted(obs.index)
    batches = obs.loc[ids, "batch"]
    before = rows_of(INPUTS / "tiny.pca.parquet", ids)
    assert values.shape == before.shape == (N_CELLS, 10)
    assert silhouette_score(values, batches) < silhouette_score(before, batches)
    sidecar = read_json(tmp_path / f"{STEM}.unchecked.json")
    assert (sidecar["method"], sidecar["seed"], sidecar["cells_out"]) == ("harmony", 0, N_CELLS)
    assert sidecar["versions"]["harmonypy"]
    assert status_of(tmp_path, "embed") == "ok"


def test_split_cells_puts_every_cell_into_one_shard(tmp_path: Path, obs: pd.DataFrame) -> None:
    call("split_cells", obs=OBS, shard_cells=100, outdir=tmp_path / "shards")
    shards = [path.read_text().split() for path in sorted((tmp_path / "shards").glob("*.txt"))]
    assert [len(shard) for shard in shards] == [90, 90]
    assert sorted(shards[0] + shards[1]) == sorted(obs.index)


def test_embed_cells_gives_a_cell_the_same_row_whatever_else_is_in_the_shard(tmp_path: Path) -> None:
    (tmp_path / "three.txt").write_text("\n".join(sorted(read_table(OBS)["cell_id"])[5:8]) + "\n")
    call(
        "embed_cells",
        model="sccello",
        method="sccello",
        dataset="tiny",
        weights=INPUTS / "weights" / "sccello",
        input=INPUTS / "tiny.prepared.h5ad",
        cells=tmp_path / "three.txt",
        options=INPUTS / "options.json",
        device="cpu",
        output=tmp_path / "embedding.parquet",
    )
    ids, values = read_embedding(tmp_path / "embedding.parquet")
    assert sorted(ids) == (tmp_path / "three.txt").read_text().split()
    np.testing.assert_allclose(values, rows_of(INPUTS / f"{MODEL_STEM}.parquet", ids), atol=1e-4)
    sidecar = read_json(tmp_path / "embedding.json")
    assert (sidecar["weights_random"], sidecar["genes_matched"], sidecar["n_dims"]) == (True, 200, values.shape[1])
    assert status_of(tmp_path, "embed", MODEL_STEM) == "ok"


def test_merge_shards_joins_the_rows_by_cell_id(tmp_path: Path, obs: pd.DataFrame) -> None:
    shards = INPUTS / "shards"
    call(
        "merge_shards",
        id=MODEL_STEM,
        parts=sorted(shards.glob("*/embedding.parquet"), reverse=True),
        sidecars=sorted(shards.glob("*/embedding.json")),
        statuses=sorted(shards.glob("*/*.status.json")),
        obs=OBS,
        outdir=tmp_path,
    )
    ids, values = read_embedding(tmp_path / f"{MODEL_STEM}.unchecked.parquet")
    assert sorted(ids) == sorted(obs.index)
    joined = dict(zip(ids, values, strict=True))
    for shard in shards.glob("*/embedding.parquet"):
        for cell, row in zip(*read_embedding(shard), strict=True):
            np.testing.assert_array_equal(joined[cell], row)
    assert read_json(tmp_path / f"{MODEL_STEM}.unchecked.json")["shards"] == 2


def test_import_embedding_takes_the_rows_of_obsm(tmp_path: Path) -> None:
    import anndata as ad

    source = INPUTS / "tiny.h5ad"
    call("import_embedding", dataset="tiny", name="mine", source=source, obsm_key="X_mine", obs=OBS, outdir=tmp_path)
    ids, values = read_embedding(tmp_path / "tiny.mine.raw.0.unchecked.parquet")
    data = ad.read_h5ad(source)
    np.testing.assert_array_equal(values, data[list(ids)].obsm["X_mine"])
    assert len(ids) == N_CELLS
    assert read_json(tmp_path / "tiny.mine.raw.0.unchecked.json")["family"] == "imported"


def test_validate_embedding_puts_rows_in_the_order_of_the_data_set(tmp_path: Path, obs: pd.DataFrame) -> None:
    ids, values = read_embedding(INPUTS / f"{STEM}.unchecked.parquet")
    order = np.random.default_rng(1).permutation(len(ids))
    write_embedding(tmp_path / "mixed.parquet", ids[order], values[order])
    sidecar = INPUTS / f"{STEM}.unchecked.json"
    call("validate_embedding", embedding=tmp_path / "mixed.parquet", sidecar=sidecar, obs=OBS, outdir=tmp_path)
    checked, rows = read_embedding(tmp_path / f"{STEM}.parquet")
    assert list(checked) == list(obs.index)
    np.testing.assert_array_equal(rows, pd.DataFrame(values, ids).loc[checked])
    assert status_of(tmp_path, "validate") == "ok"


def test_correct_embedding_centres_batches_and_scales_rows(tmp_path: Path, obs: pd.DataFrame) -> None:
    call("correct_embedding", **of_embedding(INPUTS), correction="center_l2", params=PARAMS, outdir=tmp_path)
    ids, values = read_embedding(tmp_path / "tiny.harmony.center_l2.0.unchecked.parquet")
    raw = pd.DataFrame(rows_of(INPUTS / f"{STEM}.parquet", ids).astype(float), index=ids)
    centred = raw - raw.groupby(obs.loc[ids, "batch"].to_numpy()).transform("mean")
    expected = centred.div(np.sqrt((centred**2).sum(axis=1)), axis=0)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert read_json(tmp_path / "tiny.harmony.center_l2.0.unchecked.json")["corrected_from"] == "harmony.raw.0"


# ---- evaluation ------------------------------------------------------------------------------------------------------


def test_find_neighbors_agrees_with_all_distances(tmp_path: Path) -> None:
    call("find_neighbors", **of_embedding(INPUTS), k=15, outdir=tmp_path)
    with np.load(tmp_path / f"{STEM}.knn.npz", allow_pickle=False) as found:
        ids, distances = found["cell_ids"].astype(str), found["distances"]
    values = rows_of(INPUTS / f"{STEM}.parquet", ids).astype(float)
    between = np.sqrt(((values[:, None] - values[None]) ** 2).sum(axis=2))
    np.testing.assert_allclose(distances, np.sort(between, axis=1)[:, :15], atol=1e-3)
    assert status_of(tmp_path, "neighbors") == "ok"


def test_score_embedding_agrees_with_scikit_learn_on_the_silhouette(tmp_path: Path, obs: pd.DataFrame) -> None:
    given = of_embedding(INPUTS, "knn")
    call("score_embedding", **given, pca=INPUTS / "tiny.pca.parquet", profile="paper", outdir=tmp_path)
    scores = read_table(tmp_path / f"{STEM}.scores.tsv")
    whole = scores[scores["group"] == "all"].set_index("metric")
    assert set(whole["status"]) == {"ok"}
    values = rows_of(INPUTS / f"{STEM}.parquet", obs.index)
    expected = (silhouette_score(values, obs["label"]) + 1) / 2
    assert whole.loc["silhouette_label", "value"] == pytest.approx(expected, abs=1e-4)
    study = pd.read_csv(tmp_path / f"{STEM}.metrics_scib.csv", index_col=0)
    assert float(study.loc["X_emb", "Silhouette label"]) == pytest.approx(expected, abs=1e-4)
    centroids = read_table(tmp_path / f"{STEM}.centroids.tsv")
    assert len(centroids) == obs.groupby(["batch", "label"]).ngroups
    assert status_of(tmp_path, "score") == "ok"


def test_probe_embedding_tests_every_cell_once_and_beats_its_baseline(tmp_path: Path) -> None:
    call(
        "probe_embedding",
        **of_embedding(INPUTS),
        splits=INPUTS / "tiny.splits.parquet",
        params=PARAMS,
        outdir=tmp_path,
    )
    table = read_table(tmp_path / f"{STEM}.probing.tsv")
    rows = table[
        (table["target"] == "label")
        & (table["scheme"] == "kfold")
        & (table["classifier"] == "logistic")
        & (table["group"] == "all")
        & (table["metric"] == "accuracy")
    ].set_index("fold")
    folds = rows.drop(index=["mean", "sd"])
    assert folds["n_test"].astype(int).sum() == N_CELLS
    assert rows.loc["mean", "value"] == pytest.approx(folds["value"].mean(), abs=1e-6)
    assert rows.loc["mean", "value"] > rows.loc["mean", "baseline_majority"] + 0.2


def test_draw_umaps_places_every_cell(tmp_path: Path, obs: pd.DataFrame) -> None:
    call(
        "draw_umaps",
        **of_embedding(INPUTS, "knn"),
        params=PARAMS,
        outdir=tmp_path,
    )
    table = read_table(next(tmp_path.glob("*.umap.parquet")))
    assert sorted(table["cell_id"]) == sorted(obs.index)
    assert np.isfinite(table[["umap_1", "umap_2"]]).all(axis=None)
    assert status_of(tmp_path, "umap") == "ok"
    assert next(tmp_path.glob(f"{STEM}.umap_batch.png")).read_bytes().startswith(b"\x89PNG")


def test_choose_embeddings_takes_what_there_is_and_names_what_there_is_not(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps(read_json(PARAMS) | {"diagnose": "harmony.raw.0,no_such"}))
    registries = {f"{name}_table": ASSETS / f"{name}.tsv" for name in ("metrics", "methods", "models", "corrections")}
    call(
        "choose_embeddings",
        dataset="tiny",
        scores=INPUTS / f"{STEM}.scores.tsv",
        datasets=INPUTS / "datasets.json",
        params=tmp_path / "params.json",
        outdir=tmp_path,
        **registries,
    )
    chosen = read_json(tmp_path / "tiny.chosen.json")
    assert chosen["embeddings"] == ["harmony.raw.0"]
    [warning] = chosen["warnings"]
    assert warning["code"] == "W-DIAG-01" and "'no_such'" in warning["text"]


def test_diagnose_embedding_says_of_every_label_whether_its_batches_are_apart(tmp_path: Path, obs) -> None:
    (tmp_path / "params.json").write_text(json.dumps(read_json(PARAMS) | {"diagnose_permutations": 200}))
    call("diagnose_embedding", **diagnosed(INPUTS), params=tmp_path / "params.json", outdir=tmp_path)
    assert status_of(tmp_path, "diagnose") == "ok"
    residual = pd.read_csv(tmp_path / f"{STEM}.residual.tsv", sep="\t")
    assert set(residual["label"]) == set(obs["label"])
    markers = pd.read_csv(tmp_path / f"{STEM}.markers.tsv", sep="\t")
    assert set(markers["label"]) == set(obs["label"])


# ---- report ----------------------------------------------------------------------------------------------------------


def test_write_dataset_adds_every_embedding_to_obsm(tmp_path: Path) -> None:
    import anndata as ad

    stems = (STEM, MODEL_STEM)
    call(
        "write_dataset_h5ad",
        prepared=INPUTS / "tiny.prepared.h5ad",
        embeddings=[INPUTS / f"{stem}.parquet" for stem in stems],
        sidecars=[INPUTS / f"{stem}.json" for stem in stems],
        umaps=sorted(INPUTS.glob("*.umap.parquet")),
        output=tmp_path / "tiny.h5ad",
    )
    data = ad.read_h5ad(tmp_path / "tiny.h5ad")
    for stem in stems:
        key = f"X_{stem.removeprefix('tiny.')}"
        np.testing.assert_array_equal(data.obsm[key], rows_of(INPUTS / f"{stem}.parquet", data.obs_names))
    assert "X_umap_harmony.raw.0" in data.obsm


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Tables collected from the results of the one embedding that was evaluated; the rest of the plan is missing."""
    call(
        "collect_results",
        plan=INPUTS / "plan.tsv",
        datasets=INPUTS / "datasets.json",
        messages=INPUTS / "input_warnings.json",
        results=results_of(INPUTS),
        metrics_table=ASSETS / "metrics.tsv",
        methods_table=ASSETS / "methods.tsv",
        params=PARAMS,
        outdir=tmp_path / "tables",
    )
    return tmp_path / "tables"


def test_collect_results_keeps_every_score_and_finds_what_is_missing(tables: Path) -> None:
    key = ["embedding", "metric", "group"]
    given, kept = (read_table(path).set_index(key) for path in (INPUTS / f"{STEM}.scores.tsv", tables / "scores.tsv"))
    assert sorted(kept.index) == sorted(given.index)
    pd.testing.assert_series_equal(kept["value"].loc[given.index], given["value"])
    status = read_table(tables / "status.tsv").set_index(["embedding", "step"])
    assert (status.xs("harmony.raw.0")["status"] == "ok").all()
    assert status.loc[("mine.raw.0", "embed"), "reason_code"] == "no_result"
    assert set(status.index.get_level_values(0)) == set(read_table(INPUTS / "plan.tsv")["embedding"])
    verdict = read_json(tables / "verdict.json")
    assert verdict["exit_status"] == 1
    assert "tiny.mine.raw.0 (embed)" in verdict["message"]


def test_check_verdict_fails_with_the_verdicts_own_sentence(tables: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(ScfmError, match=r"tiny\.mine\.raw\.0 \(embed\)"):
        call("check_verdict", verdict=tables / "verdict.json")
    (tmp_path / "clean.json").write_text('{"exit_status": 0, "message": "Everything planned is there."}')
    assert not call("check_verdict", verdict=tmp_path / "clean.json")
    assert capsys.readouterr().out == "Everything planned is there.\n"


def test_build_report_shows_the_scores_and_what_failed(tables: Path, tmp_path: Path) -> None:
    call(
        "build_report",
        tables=tables,
        plan=INPUTS / "plan.tsv",
        params=PARAMS,
        versions=INPUTS / "versions.yml",
        assets=ASSETS,
        outdir=tmp_path / "content",
        summary=tmp_path / "summary.txt",
    )
    text = "".join(path.read_text() for path in sorted((tmp_path / "content").glob("*_mqc.json")))
    scores = read_table(tables / "scores.tsv")
    ilisi = scores[(scores["metric"] == "ilisi") & (scores["group"] == "all")]["value"].item()
    assert f"{ilisi:.3f}" in text
    assert "mine.raw.0" in text
    assert "harmonypy" in text


# ---- the inputs themselves -------------------------------------------------------------------------------------------


def _shape(path: Path) -> object:
    """Return what must be the same each time a file is made: columns, keys, ids, not times or last digits."""
    if path.suffix in {".parquet", ".tsv"}:
        table = read_table(path)
        return list(table.columns), len(table)
    if path.suffix == ".json":
        content = read_json(path)
        return sorted(content) if isinstance(content, dict) else len(content)
    return path.read_text() if path.suffix in {".txt", ".csv"} else path.suffix


def test_the_committed_inputs_are_what_the_executables_write(tmp_path: Path) -> None:
    import make_module_inputs

    make_module_inputs.make(tmp_path / "modules")
    made, kept = (
        {path.relative_to(folder): _shape(path) for path in sorted(folder.rglob("*")) if path.is_file()}
        for folder in (tmp_path / "modules", INPUTS)
    )
    assert made == kept, "a format changed: run python tests/python/make_module_inputs.py and commit what it writes"
    for stem in (STEM, MODEL_STEM):
        ids, values = read_embedding(INPUTS / f"{stem}.parquet")
        np.testing.assert_allclose(rows_of(tmp_path / "modules" / f"{stem}.parquet", ids), values, atol=1e-2)


def test_the_page_names_a_case_for_every_module() -> None:
    rows = re.findall(r"^\| `([\w/]+)` \| `(\w+\.py)::(\w+)` \|$", (PROJECT / "docs" / "testing.md").read_text(), re.M)
    folder = PROJECT / "modules" / "local"
    assert [row[0] for row in rows] == sorted(str(path.parent.relative_to(folder)) for path in folder.rglob("main.nf"))
    for _module, file, case in rows:
        assert f"def {case}(" in (PROJECT / "tests" / "python" / file).read_text(), case


@pytest.mark.parametrize(
    "path", sorted(PROJECT.glob("modules/local/**/main.nf.test")), ids=lambda p: str(p.parents[1].name)
)
def test_every_module_has_an_nf_test_that_runs_its_script(path: Path) -> None:
    tests = re.split(r"^    test\(", path.read_text(), flags=re.M)[1:]
    scripts = [text for text in tests if 'options "-stub"' not in text]
    assert scripts
    assert any("process.out" in text or "process.trace" in text for text in scripts)


@pytest.mark.parametrize(
    "path", sorted(PROJECT.glob("modules/local/**/main.nf.test")), ids=lambda p: str(p.parents[1].relative_to(PROJECT))
)
def test_an_nf_test_gives_the_process_as_many_inputs_as_it_declares(path: Path) -> None:
    module = (path.parents[1] / "main.nf").read_text()
    block = re.search(r"^    input:\n(.*?)\n\n", module, re.MULTILINE | re.DOTALL)
    assert block
    declared = len(re.findall(r"^    (?:tuple|path|val)\b", block[1], re.MULTILINE))
    for test in path.read_text().split("\n    test(")[1:]:
        given = [int(number) for number in re.findall(r"input\[(\d+)\] =", test)]
        assert given == list(range(declared)), test.splitlines()[0]
