"""The design checks on designs whose answer is known, and against independent implementations."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import homogeneity_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bin"))

import describe_design as executable
from helpers_data import make_adata
from scfm.design.balance import balance_messages, measure_balance
from scfm.design.confounding import contrast_rank, describe_pair, n_components, theils_u
from scfm.design.describe import Described, describe_design
from scfm.design.limits import DesignLimits
from scfm.design.reuse import reused_levels, subject_fields
from scfm.design.strength import measure_strength
from scfm.io.tables import write_embedding, write_json, write_table
from scfm.preparation.obs import build_obs
from scfm.registries.schemas import Schemas
from scfm.simulation.design import Design
from scfm.simulation.truth import draw_truth

LIMITS = DesignLimits()
KEYS = {"batch_key": "batch", "label_key": "cell_type", "condition_key": "condition", "donor_key": "donor"}


def described(row: dict | None = None, **design: object) -> Described:
    """Describe the design of simulated cells; the components are those of the true log expression."""
    sizes = {"n_cells": 400, "n_genes": 40, "n_types": 3, "n_conditions": 2, "n_donors": 3}
    truth = draw_truth(Design(**{**sizes, **design}), 1)
    row = {"dataset": "d", **KEYS, **(row or {})}
    obs = build_obs(truth.obs, row).assign(n_counts=truth.obs["depth"].to_numpy(), n_genes=1, scored=True)
    logs = np.log(truth.own_shares(truth.obs))
    left, sizes_of, _ = np.linalg.svd(logs - logs.mean(axis=0), full_matrices=False)
    fields = truth.obs[["sex"]].reset_index(drop=True)
    return describe_design(obs, (left * sizes_of)[:, :10], row=row, limits=LIMITS, fields=fields)


def messages(found: Described) -> dict[str, dict]:
    return {m["code"]: m for m in found.facts["warnings"]}


def pair(found: Described, column: str = "condition") -> dict:
    return next(p for p in found.facts["pairs"] if p["column"] == column)


# --- acceptance: nested, crossed, reused names ------------------------------------------------------------------------


def test_a_batch_nested_in_the_condition_is_an_error_that_names_the_way_out():
    found = described(paired=True, nesting="batch_is_sample", n_batches=6)
    about = pair(found)
    assert (about["relation"], about["estimable"], about["components"]) == ("nested", False, 2)
    assert about["theils_u_condition_given_batch"] == 1
    entry = messages(found)["E-CONF-01"]
    assert entry["severity"] == "error" and entry["dataset"] == "d"
    assert "Every batch of 'batch' has cells of one level of 'condition' only" in entry["text"]
    assert entry["text"].endswith("The donor ('donor') is crossed with 'condition'.")
    assert (found.facts["de"]["design"], found.facts["de"]["class"]) == ("donor + condition", "nested")


def test_a_crossed_batch_is_no_message_and_stays_in_the_model():
    found = described(n_batches=3)
    assert (pair(found)["relation"], pair(found)["estimable"]) == ("crossed", True)
    assert not {"E-CONF-01", "W-CONF-02", "W-DES-01"} & set(messages(found))
    assert (found.facts["de"]["design"], found.facts["de"]["reason_code"]) == ("batch + condition", "estimable")


def test_replicates_that_share_a_name_are_found_by_sex_and_are_no_pairs():
    found = described({"donor_key": "replicate"}, n_batches=3)
    entry = messages(found)["W-DES-01"]
    assert entry["values"]["levels"]["replicate_0"] == {"sex": {"condition_0": "female", "condition_1": "male"}}
    assert "3 levels of 'replicate' stand for several subjects" in entry["text"]
    assert found.facts["de"]["design"] == "batch + condition"  # and not donor + condition
    silent = described({"donor_key": "donor"}, n_batches=3, paired=True)
    assert "W-DES-01" not in messages(silent) and silent.facts["de"]["design"] == "donor + condition"


def test_paired_false_makes_a_shared_name_two_subjects():
    found = described({"paired": "false"}, n_batches=3, paired=True)
    assert "different subjects share a name" in messages(found)["W-DES-01"]["text"]
    assert found.facts["de"]["design"] == "batch + condition"


@pytest.mark.parametrize(
    ("row", "design", "code"),
    [
        ({"condition_key": ""}, {}, "no_condition"),
        ({}, {"n_conditions": 1}, "one_condition"),
        ({"batch_key": "condition", "donor_key": "", "condition_key": "condition"}, {}, "no_replicates"),
        ({}, {"nesting": "batch_in_condition", "n_batches": 4}, "not_estimable"),
    ],
)
def test_the_design_of_differential_expression_has_its_reason(row, design, code):
    found = described({k: v for k, v in row.items()}, **design)
    assert found.facts["de"]["reason_code"] == code
    assert found.facts["de"]["design"] == ("condition" if code == "not_estimable" else "none")
    assert found.facts["de"]["reason"].endswith(".")


def test_the_condition_as_batch_is_said_to_be_biology():
    found = described({"batch_key": "condition", "donor_key": ""})
    assert "'condition' is the batch and biology at once" in messages(found)["E-CONF-01"]["text"]
    assert not {"I-DES-02", "W-CONF-02"} & set(messages(found))
    assert "donor_key (whether donors are nested in batches" in messages(found)["I-DES-01"]["text"]


def test_labels_of_a_classifier_are_said_to_be_circular():
    assert "CellTypist, coarse" in messages(described({"labels_from": "CellTypist, coarse"}))["W-LAB-01"]["text"]
    assert "W-LAB-01" not in messages(described({"labels_from": "the authors, by markers"}))


def test_partial_overlap_and_few_samples():
    rows = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "x"), ("c", "y"), ("c", "y"), ("d", "y")]
    obs = pd.DataFrame(rows, columns=["batch", "condition"]).assign(sample=[f"s{i}" for i in range(7)])
    found = describe_pair(obs, "batch", "condition", LIMITS)
    assert (found.relation, found.estimable, found.components, found.inside) == ("partial", True, 1, ("a",))
    assert found.u_column == pytest.approx(homogeneity_score(obs["condition"], obs["batch"]))
    few = describe_pair(obs[:5], "batch", "condition", LIMITS)
    assert (few.n_samples, few.u_column, few.cramers_v) == (5, None, None)
    apart = describe_pair(obs[1:].iloc[[0, 1, 3]].assign(batch=["a", "b", "b"]), "batch", "condition", LIMITS)
    assert not apart.estimable or apart.components == 1


# --- measures against independent implementations ---------------------------------------------------------------------


def test_a_sample_in_several_batches_is_one_sample():
    """Three samples on two lanes each are no six samples: too few for a coefficient."""
    obs = pd.DataFrame({"sample": ["r", "r", "s", "s", "t", "t"], "batch": ["x", "y"] * 3})
    found = describe_pair(obs.assign(condition=["a", "a", "b", "b", "a", "a"]), "batch", "condition", LIMITS)
    assert (found.relation, found.n_samples, found.u_column, found.cramers_v) == ("crossed", 3, None, None)


def test_theils_u_is_scikit_learns_homogeneity():
    rng = np.random.default_rng(0)
    batch, condition = rng.integers(4, size=60), rng.integers(3, size=60)
    table = pd.crosstab(batch, condition).to_numpy()
    assert theils_u(table) == pytest.approx(homogeneity_score(condition, batch))
    assert theils_u(np.diag([3, 4, 5])) == 1
    assert theils_u(np.full((3, 2), 4)) == pytest.approx(0)


@pytest.mark.parametrize("seed", range(6))
def test_estimable_contrasts_are_the_levels_less_the_components_beyond_the_batches(seed):
    """By hand: rank of the whole model is rows + columns - components of the bipartite graph."""
    table = np.random.default_rng(seed).random((5, 4)) < 0.3
    table = table[table.any(axis=1)][:, table[table.any(axis=1)].any(axis=0)].astype(int)
    assert contrast_rank(table) == table.shape[1] - n_components(table)


def test_r2_and_partition_are_those_of_linear_regression():
    rng = np.random.default_rng(0)
    n = 300
    batch, label = pd.Series(rng.choice(list("abc"), n)), pd.Series(rng.choice(list("xy"), n))
    condition = pd.Series(np.where(batch == "a", "u", rng.choice(["u", "v"], n)))
    depth = pd.Series(rng.normal(8, 1, n))
    scores = rng.normal(size=(n, 4)) * [4, 3, 2, 1]
    scores[:, 0] += 3 * (batch == "b") + depth.to_numpy()
    found = measure_strength(scores, {"batch": batch, "condition": condition, "label": label, "depth": depth})

    def share(*blocks: pd.Series) -> float:
        columns = pd.get_dummies(pd.concat(blocks, axis=1, keys=range(len(blocks))), dtype=float).to_numpy()
        fitted = LinearRegression().fit(columns, scores).predict(columns)
        return float(1 - ((scores - fitted) ** 2).sum() / ((scores - scores.mean(axis=0)) ** 2).sum())

    assert found.pcr["batch"] == pytest.approx(share(batch))
    assert found.pcr["depth"] == pytest.approx(share(depth))
    assert found.full == pytest.approx(share(batch, condition, label, depth))
    unique = found.full - share(condition, label, depth)
    assert found.unique["batch"] == pytest.approx(unique)
    shared = share(batch, label, depth) - share(label, depth) - unique
    assert found.shared_with_batch["condition"] == pytest.approx(shared)
    assert found.r2["batch"].shape == (4,) and found.r2["batch"].argmax() == 0


def test_a_covariate_is_measured_on_the_cells_that_have_it():
    scores = np.arange(12.0).reshape(6, 2)
    batch = pd.Series(["a", "a", "b", "b", None, None])
    found = measure_strength(scores, {"batch": batch, "condition": pd.Series([None] * 6, dtype=object)})
    assert (found.n_cells, found.full, set(found.pcr)) == ({"batch": 4}, None, {"batch"})


def test_strength_bands_and_a_batch_that_explains_nothing():
    assert [LIMITS.strength(v) for v in (0.01, 0.05, 0.2, 0.5)] == ["negligible", "mild", "clear", "dominant"]
    found = described(n_batches=2, batch_effect=0.0, nesting="none", type_effect=3.0)
    entry = messages(found)["I-STR-01"]
    assert entry["threshold"] == 0.02 and "A correction may be unnecessary" in entry["text"]
    assert "I-STR-01" not in messages(described(n_batches=2, batch_effect=2.0))


def test_balance_and_its_messages():
    batch = pd.Series(["a"] * 220 + ["b"] * 10)
    label = pd.Series(["x"] * 110 + ["y"] * 110 + ["x"] * 10)
    balance = measure_balance(batch, label)
    assert (balance.size_ratio, balance.absent) == (22.0, {"a": 0, "b": 1})
    assert balance.batches_by_label == {"x": 2, "y": 1}
    found = {m["code"]: m for m in balance_messages(balance, LIMITS)}
    assert found["W-BAL-01"]["text"].startswith("Batch sizes differ 22-fold (limit 10)")
    assert "1 of 2 labels are missing in 'b'" in found["W-BAL-01"]["text"]
    even = measure_balance(pd.Series(["a", "b"] * 50), pd.Series(["x", "x", "y", "y"] * 25))
    assert balance_messages(even, LIMITS) == []
    loose = DesignLimits.of({"design_max_size_ratio": 30, "design_max_js": 1.0, "design_min_effective": 0.1})
    assert balance_messages(balance, loose) == []
    assert measure_balance(batch[:5], label[:5]) is None


def test_a_label_in_few_of_many_batches():
    batch = pd.Series([f"b{i}" for i in range(6) for _ in range(20)])
    label = pd.Series(["x"] * 115 + ["y"] * 5)
    label[[0, 20]] = "y"
    found = {m["code"]: m for m in balance_messages(measure_balance(batch, label), LIMITS)}
    assert list(found) == ["W-BAL-02"] and list(found["W-BAL-02"]["values"]) == ["y"]


def test_what_subjects_are_is_read_from_the_usual_columns():
    columns = ["Sex", "age", "self_reported_ethnicity", "cell_type", "genotype"]
    assert subject_fields(columns, paired="") == ["Sex", "age", "self_reported_ethnicity", "genotype"]
    assert "age" not in subject_fields(columns, paired="true")
    level, condition = pd.Series(["p", "p", "q", "q"]), pd.Series(["t0", "t1", "t0", "t1"])
    assert reused_levels(level, condition, pd.DataFrame({"sex": ["F", "M", "F", None]})) == {
        "p": {"sex": {"t0": "F", "t1": "M"}}
    }
    mixed = pd.DataFrame({"sex": ["F", "M", "F", "M", "F", "M"]})  # a batch of several subjects says nothing
    assert reused_levels(pd.Series(["p"] * 6), pd.Series(["t0"] * 2 + ["t1"] * 4), mixed) == {}


# --- table and executable ---------------------------------------------------------------------------------------------


def test_the_table_fits_its_schema_and_counts_every_cell_once():
    found = described({"batch_key": "batch;donor"}, n_batches=2)
    Schemas().check(found.table, "design")
    rows = found.table[(found.table["part"] == "cells") & (found.table["quantity"] == "n_cells")]
    assert rows.groupby("batch_key")["value"].sum().to_dict() == {"batch": 400, "donor": 400}
    assert {p["batch_key"] for p in found.facts["pairs"]} == {"batch", "donor"}


def _prepared(folder: Path, *, shuffled: bool = False) -> list[str]:
    data = make_adata()
    data.obs["condition"] = data.obs["batch"].map({"b0": "u", "b1": "u", "b2": "v"}).astype(str)
    data.obs["sex"] = "F"
    data.var["gene_symbol"] = ["MT-CO1", *data.var_names[1:]]
    data.layers["counts"] = data.X.copy()
    row = {"dataset": "d", "batch_key": "batch", "label_key": "cell_type", "condition_key": "condition"}
    totals = np.asarray(data.X.sum(axis=1)).ravel()
    obs = build_obs(data.obs, row).assign(n_counts=totals, n_genes=1, scored=True)
    write_table(obs, folder / "d.obs.parquet")
    order = np.arange(60)[::-1] if shuffled else np.arange(60)
    rng = np.random.default_rng(0).normal(size=(60, 3))
    write_embedding(folder / "d.pca.parquet", obs["cell_id"].to_numpy()[order], rng[order])
    data[order].copy().write_h5ad(folder / "d.prepared.h5ad")
    write_json(folder / "datasets.json", [row])
    write_json(folder / "params.json", {"design_min_samples": 2})
    files = {"datasets": "datasets.json", "params": "params.json"}
    files |= {name: f"d.{name}.{'h5ad' if name == 'prepared' else 'parquet'}" for name in ("prepared", "obs", "pca")}
    return ["--quiet", "--dataset", "d", *(w for k, v in files.items() for w in (f"--{k}", str(folder / v)))]


def test_the_executable_joins_by_cell_id_and_reads_the_limits(tmp_path):
    tables = []
    for shuffled in (False, True):
        folder = tmp_path / str(shuffled)
        folder.mkdir()
        executable.main([*_prepared(folder, shuffled=shuffled), "--outdir", str(folder)])
        tables.append((folder / "d.design.tsv").read_text())
    assert tables[0] == tables[1]
    facts = json.loads((tmp_path / "True" / "d.design.json").read_text())
    assert facts["pairs"][0]["relation"] == "nested" and facts["pairs"][0]["theils_u_condition_given_batch"] == 1
    table = pd.read_csv(tmp_path / "True" / "d.design.tsv", sep="\t", keep_default_na=False, na_values=["NA"])
    assert "mito_share" in set(table["column"])
    assert json.loads((tmp_path / "True" / "d.design.status.json").read_text())["status"] == "ok"


def test_files_of_another_data_set_fail_with_a_sentence_and_leave_empty_outputs(tmp_path):
    arguments = _prepared(tmp_path)
    write_embedding(tmp_path / "d.pca.parquet", [f"other{i}" for i in range(60)], np.zeros((60, 2)))
    executable.main([*arguments, "--outdir", str(tmp_path), "--on_error", "continue"])
    status = json.loads((tmp_path / "d.design.status.json").read_text())
    assert status["status"] == "failed" and "60 of 60 cells of the obs table are missing" in status["reason"]
    assert (tmp_path / "d.design.tsv").stat().st_size == (tmp_path / "d.design.json").stat().st_size == 0
