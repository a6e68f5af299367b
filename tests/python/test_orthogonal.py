"""Evidence from outside of the embedding, on planted data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.sparse import csr_matrix
from sklearn.metrics import adjusted_rand_score

from helpers_expression import Planted, planted_cells, write_prepared
from helpers_modules import ASSETS, call
from scfm.errors import NotApplicable
from scfm.expression.pseudobulk import Pseudobulk
from scfm.io.tables import read_json, write_embedding, write_json
from scfm.orthogonal.activities import activities, agreement_between_batches, edges_of_sets, label_profiles
from scfm.orthogonal.clinical import associate, parts_of_labels, sample_parts
from scfm.orthogonal.evidence import OrthogonalSettings, clinical_rows, modality_rows
from scfm.orthogonal.run import clusters_of
from scfm.registries.schemas import Schemas
from scfm.registries.typed import read_typed

SCHEMAS = Schemas(ASSETS)


def test_profiles_are_differences_from_the_other_labels_of_the_batch_by_symbol() -> None:
    units = pd.DataFrame({"label": list("ABABA"), "batch": list("xxyyz"), "n_cells": [50, 50, 50, 50, 50]})
    counts = np.array([[400, 100, 500, 3], [100, 400, 500, 3], [800, 200, 1000, 3], [200, 800, 1000, 3], [9, 9, 9, 9]])
    symbols = np.array(["g", "h", "k", "k"], dtype=object)
    found = label_profiles(Pseudobulk(units, csr_matrix(counts), np.arange(4)), symbols, min_cells=10)
    assert list(found.index) == [("A", "x"), ("B", "x"), ("A", "y"), ("B", "y")] and list(found.columns) == list("ghk")
    assert found.loc[("A", "x"), "g"] == pytest.approx(1, abs=0.02)
    assert found.loc[("B", "y"), "h"] == pytest.approx(1, abs=0.02) and found["k"].abs().max() < 0.02
    with pytest.raises(NotApplicable, match="two labels"):
        label_profiles(Pseudobulk(units[4:], csr_matrix(counts[4:]), np.arange(4)), symbols, min_cells=10)


def test_batches_agree_where_their_activities_have_one_order() -> None:
    index = pd.MultiIndex.from_arrays([list("AABBC"), list("xyxyx")], names=["label", "batch"])
    values = [[1, 2, 3, 4, 5], [2, 3, 4, 5, 9], [1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [1, 2, 3, 4, 5]]
    scores = pd.DataFrame(values, index=index, columns=list("abcde"), dtype=float)
    found = agreement_between_batches(scores)
    assert found["A"].by_pair == {("x", "y"): pytest.approx(1.0)}
    assert found["B"].by_pair == {("x", "y"): pytest.approx(-1.0)}
    assert isinstance(found["C"], NotApplicable) and found["C"].code == "one_batch"
    assert agreement_between_batches(scores[["a", "b"]])["A"].code == "few_sets"


@pytest.mark.slow
@pytest.mark.reference
def test_activities_are_t_values_of_a_regression_on_membership() -> None:
    rng = np.random.default_rng(0)
    genes = [f"g{i}" for i in range(60)]
    profile = pd.DataFrame(rng.normal(size=(1, 60)), columns=genes, index=pd.MultiIndex.from_tuples([("A", "x")]))
    edges = edges_of_sets({"s": genes[:8], "few": genes[:3], "unknown": ["q"] * 9})
    found = activities(profile, edges)
    fit = stats.linregress(np.isin(genes, genes[:8]).astype(float), profile.iloc[0])
    assert list(found.columns) == ["s"] and found.iloc[0, 0] == pytest.approx(fit.slope / fit.stderr, rel=1e-3)
    with pytest.raises(NotApplicable, match="gene names"):
        activities(profile, edges_of_sets({"s": ["q1", "q2"]}))


def test_a_protein_tells_its_label_in_every_batch_and_noise_does_not() -> None:
    rng = np.random.default_rng(1)
    label, batch = np.tile(np.repeat(["A", "B"], 50), 2), np.repeat(["x", "y"], 100)
    cells = pd.DataFrame({"label": label, "batch": batch, "modality:CD3": rng.normal(size=200) + 3 * (label == "A")})
    cells["modality:noise"] = rng.normal(size=200)
    rows = pd.DataFrame(modality_rows(cells, OrthogonalSettings()))
    whole = rows[rows["batch"] == "all"].set_index(["feature", "label"])
    assert whole.loc[("CD3", "A"), "low"] > 0.9 and whole.loc[("CD3", "A"), "agrees"]
    assert whole.loc[("CD3", "B"), "high"] < 0.1 and whole.loc[("CD3", "B"), "agrees"]
    assert abs(whole.loc[("noise", "A"), "value"] - 0.5) < 0.1
    inside = rows[(rows["batch"] == "x") & (rows["feature"] == "noise") & (rows["label"] == "A")]["value"].item()
    x = cells[cells["batch"] == "x"]
    u = stats.mannwhitneyu(*(x.loc[x["label"] == v, "modality:noise"] for v in "AB")).statistic
    assert inside == pytest.approx(u / 2500)


def test_the_parts_of_a_label_and_the_fields_that_go_with_them() -> None:
    sample = np.repeat([f"s{i}" for i in range(8)], 40)
    stage = np.repeat(["early", "late"], 160)
    cluster = np.where(stage == "early", 0, 1)
    cells = pd.DataFrame(
        {"label": "T", "sample": sample, "clinical:stage": stage, "clinical:age": np.repeat(np.arange(8.0), 40)},
        index=[f"c{i}" for i in range(320)],
    )
    cells["clinical:site"] = np.repeat(list("ababbaba"), 40)
    cells["clinical:cell"] = np.arange(320.0)
    assert parts_of_labels(cluster, cells["label"].to_numpy(), min_cells=10) == {"T": [0, 1]}
    rows = clinical_rows(cells, {"pca.raw.0": pd.Series(cluster, index=cells.index)}, OrthogonalSettings())
    found = {r["feature"]: r for r in rows}
    assert found["stage"]["value"] == pytest.approx(1) and found["stage"]["agrees"]
    assert found["site"]["value"] == pytest.approx(0, abs=1e-9) and not found["site"]["agrees"]
    assert found["age"]["p_value"] == pytest.approx(stats.mannwhitneyu(range(4), range(4, 8), method="exact").pvalue)
    assert found["age"]["agrees"] and found["age"]["q_value"] == pytest.approx(3 / 2 * found["age"]["p_value"])
    assert found["cell"]["reason"] == "varies_in_sample"
    few = associate(pd.Series([0, 1], index=list("ab")), pd.Series([1.0, 2.0], index=list("ab")))
    assert few.p_value is None and few.n_samples == 2
    assert sample_parts(pd.Series([1, 1, 0]), pd.Series(list("ssr"))).to_dict() == {"r": 0, "s": 1}


def test_batches_of_one_donor_are_one_observation_of_its_fields() -> None:
    """Four donors in four batches each are no sixteen samples: p was 0.0005 for two donors against two."""
    rows = [(f"b{b}", f"d{d}", f"d{d}+b{b}", d) for d in range(4) for b in range(4) for _ in range(20)]
    cells = pd.DataFrame(rows, columns=["batch", "donor", "sample", "clinical:age"]).assign(label="T")
    cells["clinical:age"] = cells["clinical:age"].map([30.0, 41, 60, 72].__getitem__)
    cells["clinical:weeks"] = cells["batch"].map({"b0": 0.0, "b1": 0.0, "b2": 6.0, "b3": 6.0})
    clusters = {"pca": cells["donor"].map({"d0": 0, "d1": 0, "d2": 1, "d3": 1})}
    found = {r["feature"]: r for r in clinical_rows(cells, clusters, OrthogonalSettings())}
    assert (found["age"]["n"], found["age"]["p_value"], found["age"].get("agrees")) == (4, None, None)
    assert found["weeks"]["n"] == 8  # a donor before and after counts twice
    alone = clinical_rows(cells.drop(columns="donor"), clusters, OrthogonalSettings())
    assert {r["n"] for r in alone} == {16}
    some = cells.assign(donor=cells["donor"].where(cells["donor"] != "d3"))
    assert {r["n"] for r in clinical_rows(some, clusters, OrthogonalSettings()) if r["feature"] == "age"} == {7}


@pytest.mark.parametrize("sizes", [(3, 3), (1, 9), (7, 5)])
def test_p_values_of_few_donors_are_exact(sizes: tuple[int, int]) -> None:
    """Three donors against three can't be significant: one division in ten looks like that by chance."""
    rng = np.random.default_rng(3)
    first, second = rng.permutation(sum(sizes))[: sizes[0]], rng.permutation(100)[: sizes[1]] + 0.5
    field, part = pd.Series([*first, *second], dtype=float), pd.Series(np.repeat([0, 1], sizes))
    assert associate(part, field).p_value == pytest.approx(stats.mannwhitneyu(first, second, method="exact").pvalue)
    field = pd.Series(range(6), index=list("abcdef"), dtype=float)
    apart = associate(pd.Series([0, 0, 0, 1, 1, 1], index=field.index), field)
    assert apart.p_value == pytest.approx(0.1) and stats.kruskal(range(3), range(3, 6)).pvalue < 0.05
    three = associate(pd.Series([0, 0, 1, 1, 2, 2], index=field.index), field)
    assert three.p_value == pytest.approx(6 / 90)  # the ways in which three pairs of neighbours are the groups
    many = pd.Series(np.arange(40.0))
    assert associate(pd.Series(np.repeat([0, 1], 20)), many).p_value == pytest.approx(
        stats.kruskal(many[:20], many[20:]).pvalue
    )


def test_a_part_for_every_donor_goes_with_no_field_of_text() -> None:
    """Theil's U is 1 of any field there, and the message said that the split may be biology of it."""
    sex = np.array(list("fmfmfm"))
    cells = pd.DataFrame({"label": "T", "sample": np.repeat(list("abcdef"), 20), "clinical:sex": np.repeat(sex, 20)})
    (row,) = clinical_rows(cells, {"pca": pd.Series(np.repeat(range(6), 20))}, OrthogonalSettings())
    assert (row["value"], row["p_value"], row["agrees"]) == (1, 1, False)


def test_p_values_of_text_are_fishers_and_those_of_drawn_ways_are_near_them() -> None:
    for table in ([[4, 1], [1, 4]], [[5, 0], [1, 6]], [[12, 4], [5, 11]]):
        part = pd.Series(np.repeat([0, 0, 1, 1], np.ravel(table)))
        field = pd.Series(np.repeat(["f", "m", "f", "m"], np.ravel(table)))
        found = associate(part, field).p_value
        assert found == pytest.approx(stats.fisher_exact(table).pvalue, abs=0.01 if np.sum(table) > 20 else 1e-9)


def test_clusters_belong_to_their_cells_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    """Neighbours are sorted by id and cell_10 comes before cell_2: clusters went to other cells."""
    kinds = np.repeat([0, 1, 2], 100)
    ids = np.array([f"cell_{i}" for i in range(300)], dtype=object)
    values = np.random.default_rng(0).normal(size=(300, 5)) / 10 + 10 * kinds[:, None]
    write_embedding(tmp_path / "d.pca.raw.0.parquet", ids, values.astype(np.float32))
    found = clusters_of(tmp_path / "d.pca.raw.0.parquet", pd.Index(ids), 0.05)
    assert adjusted_rand_score(kinds, found.loc[ids]) == 1
    some = clusters_of(tmp_path / "d.pca.raw.0.parquet", pd.Index(ids[::-2]), 0.05)
    assert adjusted_rand_score(kinds[::-2], some.loc[ids[::-2]]) == 1


def test_the_step_writes_its_table_and_says_what_is_not_defined(tmp_path: Path) -> None:
    data = planted_cells(n_donors=2, n_cells=20, n_genes=40, n_changed=4, batch="lane")
    levels = np.where(data.cells["label"] == "A", 2.0, 0.0) + np.arange(len(data.cells)) / 1e3
    cells = data.cells.assign(**{"modality:CD3": levels})
    files = write_prepared(Planted(cells, data.counts, data.genes, set()), tmp_path, {})
    gmt = tmp_path / "sets.gmt"
    gmt.write_text("other\tnames\t" + "\t".join(f"x{i}" for i in range(9)) + "\n")
    write_json(tmp_path / "params.json", {})
    del files["design"]
    call("relate_biology", dataset="sim", **files, gmt=gmt, params=tmp_path / "params.json", outdir=tmp_path)
    assert read_json(tmp_path / "sim.orthogonal.status.json")["status"] == "ok"
    table = read_typed(tmp_path / "sim.orthogonal.tsv", "orthogonal", SCHEMAS)
    SCHEMAS.check(table, "orthogonal")
    assert table.loc[table["evidence"] == "gene_sets", "reason"].tolist() == ["no_targets"]
    whole = table[(table["evidence"] == "modality") & (table["batch"] == "all")]
    assert whole.set_index("label")["value"].to_dict() == {"A": 1.0, "B": 0.0}
