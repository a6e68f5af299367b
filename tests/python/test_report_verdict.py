"""What the first screen says, and the messages about scores that would mislead (issue 12 A)."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from scfm.inputs.batch_role import looks_like_conditions, role_question
from scfm.inputs.params import choose
from scfm.metrics.anchors import find_anchors
from scfm.metrics.ranking import add_ranks, coverage_of
from scfm.registries.corrections import load_corrections
from scfm.registries.methods import load_methods
from scfm.registries.reader import ASSETS
from scfm.report.sections import verdict
from scfm.report.tables import score_checks
from scfm.report.tables.load import read_metrics
from scfm.report.tables.names import Names
from scfm.report.tables.over_correction import over_correction
from scfm.report.tables.totals import Limits
from scfm.report.view.summary import at_floor

LIMITS = Limits()
NAMES = Names(methods={"pca": "PCA"}, controls=frozenset({"shuffled_within_label"}))


def _table(*rows: dict) -> pd.DataFrame:
    """Rows of summarise(): title, bio and batch are given; everything is ranked and no control."""
    table = pd.DataFrame(rows)
    defaults = {"is_control": False, "at_floor": False, "reads_labels": False, "n_seeds": 1, "coverage": 1.0}
    for column, value in (defaults | dict.fromkeys(("total_sd", "bio_sd", "batch_sd"), np.nan)).items():
        given = table[column] if column in table else [None] * len(table)
        table[column] = [value if pd.isna(v) else v for v in given]
    for column in ("bio", "batch"):
        table[f"rank_{column}"] = table[column].where((table["coverage"] >= 0.9) & ~table["reads_labels"].astype(bool))
    table["rank_total"] = 0.6 * table["rank_bio"] + 0.4 * table["rank_batch"]
    table["is_control"] = table["is_control"].astype(bool)
    table["at_floor"] = table["at_floor"].astype(bool)
    table["reads_labels"] = table["reads_labels"].astype(bool)
    return table


def test_less_than_the_tolerance_is_no_lead() -> None:
    """0.733 over 0.724 was a rank (issue 12, point 8)."""
    text = verdict.leaders(
        _table(
            {"title": "A", "bio": 0.733, "batch": 0.733},
            {"title": "B", "bio": 0.724, "batch": 0.724},
            {"title": "C", "bio": 0.5, "batch": 0.5},
        ),
        LIMITS,
    )
    assert "By total, <b>A</b> and <b>B</b> can't be told apart (0.733 to 0.724)." in text
    assert "lead" not in text and "best" not in text.lower() and "<b>C</b>" not in text
    assert "Differences up to 0.020 are called no difference. One seed was run" in text


def test_more_than_the_tolerance_is_named_with_the_next() -> None:
    rows = [{"title": "A", "bio": 0.9, "batch": 0.5}, {"title": "B", "bio": 0.6, "batch": 0.55}]
    text = verdict.leaders(_table(*rows), LIMITS)
    assert "By total, <b>A</b> is highest: 0.740, then B with 0.580." in text
    assert "By batch, <b>B</b> is highest: 0.550, then A with 0.500." in text
    wide = verdict.leaders(_table({**rows[0], "total_sd": 0.2, "n_seeds": 3}, rows[1]), LIMITS)
    assert "By total, <b>A</b> and <b>B</b> can't be told apart" in wide and "Up to 3 seeds were run" in wide


def test_every_score_has_the_spread_of_its_own_over_seeds() -> None:
    """Where bio and batch vary against each other the total hardly varies, and says nothing of either."""
    rows = [
        {"title": "A", "bio": 0.76, "batch": 0.5, "bio_sd": 0.08, "n_seeds": 3},
        {"title": "B", "bio": 0.7, "batch": 0.4},
    ]
    text = verdict.leaders(_table(*rows), LIMITS)
    assert "By bio, <b>A</b> and <b>B</b> can't be told apart (0.760 to 0.700)." in text
    assert "By batch, <b>A</b> is highest" in text and "By total, <b>A</b> is highest" in text
    assert "Differences up to 0.020 (total), 0.080 (bio), 0.020 (batch) are called no difference." in text
    pca = {"title": "PCA", "method": "pca", "correction": "raw", "bio": 0.75, "batch": 0.3}
    table = _table(pca, *({"method": "m", "correction": "raw"} | row for row in rows))
    assert "2 of 2 embeddings mix batches better, 2 of 2 agree" in verdict.baseline(table, LIMITS)


def test_noise_and_incomplete_embeddings_are_no_candidates() -> None:
    table = _table(
        {"title": "A", "bio": 0.7, "batch": 0.5},
        {"title": "B", "bio": 0.6, "batch": 0.8},
        {"title": "noise", "bio": 0.1, "batch": 0.99, "at_floor": True},
        {"title": "half", "bio": 0.95, "batch": 0.95, "coverage": 0.75},
    )
    said = verdict.leaders(table, LIMITS)
    assert "noise" not in said and "half" not in said
    circular = _table(*table.to_dict("records"), {"title": "circle", "bio": 1.0, "batch": 1.0, "reads_labels": True})
    assert verdict.leaders(circular, LIMITS) == said
    assert "circle made with the labels that score it" in verdict._left_out(circular, LIMITS)
    left_out = verdict._left_out(table, LIMITS)
    assert left_out == (
        "Scored, but no candidates: half with fewer than 90% of the scored cells; noise with labels kept no better"
        " than by chance."
    )


def test_nothing_to_compare() -> None:
    assert verdict.leaders(_table({"title": "A", "bio": 0.9, "batch": 0.8}), LIMITS).startswith("Only A can be ranked")
    empty = _table({"title": "A", "bio": np.nan, "batch": 0.8})
    # one label, for instance: that embeddings are no better than chance was not measured
    assert verdict.leaders(empty, LIMITS).startswith("No bio metric has a value")
    noise = _table({"title": "A", "bio": 0.1, "batch": 0.8, "at_floor": True})
    assert "better than chance" in verdict.leaders(noise, LIMITS)


@pytest.mark.parametrize(("controls", "expected"), [(True, [False, True, True]), (False, [False, True, False])])
def test_the_floor_is_what_shuffled_labels_give(controls: bool, expected: list[bool]) -> None:
    rows = [("good", False, 0.7, 0.6), ("noise", False, 0.21, 0.01), ("weak", False, 0.215, 0.05)]
    rows += [("shuffled", True, 0.2, 0.0)] if controls else []
    table = pd.DataFrame(rows, columns=["method", "is_control", "bio", "ari"]).assign(correction="raw")
    scores = table.assign(metric="leiden_ari", group="all", value=table["ari"])
    assert at_floor(table, scores, 0.02).tolist()[:3] == expected


def _answer(role: str, reason: str) -> str:
    """The answer for two embeddings in a data set of a role; a reason for a batch metric without value."""
    table = _table({"title": "A", "bio": 0.9, "batch": np.nan}, {"title": "B", "bio": 0.7, "batch": np.nan})
    score = {"dataset": "d", "group": "all", "metric": "bras", "status": "not_applicable", "reason": reason}
    data = SimpleNamespace(
        params={},
        facts=lambda _: {},
        row=lambda _: {"batch_role": role},
        of=lambda *_: pd.DataFrame([score]),
    )
    return " ".join(verdict.verdict(data, "d", table))


def test_one_batch_and_biological_batches_have_no_total_and_no_best() -> None:
    text = _answer("", "one_batch")
    assert text.startswith("<b>All scored cells are of one batch</b>") and "one_batch" in text
    text = _answer("biological", "")
    assert "batch_is_biology" in text and "Agreement with the cell-type labels alone" in text
    assert "biology" not in text.replace("batch_is_biology", "") and "By total" not in text


# --- ranks -----------------------------------------------------------------------------------------------------------


def _totals(**totals: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "dataset": "d",
            "embedding": list(totals),
            "batch_key": "batch",
            "label_key": "label",
            "method": list(totals),
            "family": ["control" if n == "shuffled" else "none" for n in totals],
            "scaling": "raw",
            "bio_weight": 0.5,
            "bio": list(totals.values()),
            "batch": list(totals.values()),
            "total": list(totals.values()),
            "reason": "",
        }
    )


def test_incomplete_embeddings_have_no_rank_and_common_cells_are_ranked() -> None:
    """PCA without its hardest quarter had 0.596, the whole PCA 0.497 (issue 12, point 6)."""
    cells = {"pca": 100, "easy": 75, "nearly": 95, "shuffled": 100}
    scores = pd.DataFrame({"dataset": "d", "embedding": list(cells), "n_cells": list(cells.values()), "group": "all"})
    totals = _totals(pca=0.497, easy=0.596, nearly=0.51, shuffled=0.3)
    found = add_ranks(totals, coverage_of(scores, {"d": 100})).set_index("embedding")
    assert found["rank_reason"].to_dict() == {"pca": "", "easy": "incomplete", "nearly": "", "shuffled": "control"}
    assert found["rank_total"].dropna().to_dict() == {"pca": 0.497, "nearly": 0.51}
    common = _totals(pca=0.52, nearly=0.51)
    found = add_ranks(totals, coverage_of(scores, {"d": 100}), common, scored_again={"d"}).set_index("embedding")
    assert found["rank_total"].dropna().to_dict() == {"pca": 0.52, "nearly": 0.51}
    assert found.loc["pca", "total"] == 0.497
    found = add_ranks(totals, coverage_of(scores, {"d": 100}), common[:1], scored_again={"d"}).set_index("embedding")
    assert found["rank_reason"].to_dict() | {"easy": ""} == {
        "pca": "",
        "easy": "",
        "nearly": "no_common_total",
        "shuffled": "control",
    }
    found = add_ranks(totals, coverage_of(scores, {"d": 100}), controls={"nearly"}).set_index("embedding")
    assert found.loc["nearly", "rank_reason"] == "control"
    given = {"other_keys": [False, False, True, True], "reads_labels": [True, False, True, False]}
    found = add_ranks(totals, coverage_of(scores, {"d": 100}), **given).set_index("embedding")
    reasons = {"pca": "reads_labels", "easy": "incomplete", "nearly": "other_keys", "shuffled": "control"}
    assert found["rank_reason"].to_dict() == reasons and found["rank_total"].isna().all()
    strict = add_ranks(totals, coverage_of(scores, {"d": 100}), min_coverage=0.7).set_index("embedding")
    assert strict.loc["easy", "rank_total"] == 0.596


# --- messages --------------------------------------------------------------------------------------------------------


def _scores(values: dict[str, dict[str, float]], correction: str = "raw") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "dataset": "d",
                "embedding": f"{m}.{correction}.0",
                "method": m,
                "family": "control" if m in NAMES.controls else "linear",
                "correction": correction,
                "metric": k,
                "group": "all",
                "value": v,
                "status": "ok",
                "reason": "",
            }
            for m, row in values.items()
            for k, v in row.items()
        ]
    )


#: what the collection has where nothing was diagnosed
NO_TESTS = pd.DataFrame(columns=["dataset", "method", "correction", "test", "label", "status", "failed"])


def test_over_correction_and_close_anchors_are_reported() -> None:
    metrics = read_metrics(ASSETS / "metrics.tsv").set_index("name").loc[["ilisi", "kbet"]]
    scores = _scores(
        {
            "shuffled_within_label": {"ilisi": 0.6, "kbet": 0.05},
            "good": {"ilisi": 0.61, "kbet": 0.03},
            "over": {"ilisi": 0.9, "kbet": 0.04},
        }
    )
    anchors = find_anchors(scores, metrics, 0.1).assign(batch_control=True)
    (told,) = over_correction(scores, anchors, NO_TESTS, NAMES, 0.02)
    assert (told["code"], told["method"]) == ("W-OVER-01", "over") and "iLISI" not in NAMES.metrics
    assert "ilisi 0.90 (anchor 0.60)" in told["text"] and told["threshold"] == 0.02
    (told,) = score_checks.close_anchors(anchors, NAMES, 0.1)
    assert told["code"] == "W-MET-05" and list(told["values"]) == ["kbet"] and "0.00 to 0.05" in told["text"]


def test_one_batch_is_reported_once_per_data_set() -> None:
    scores = _scores({"pca": {"kbet": 1.0, "ilisi": 1.0}}).assign(status="not_applicable", reason="one_batch")
    assert [m["code"] for m in score_checks.one_batch(scores)] == ["W-MET-04"]
    assert score_checks.one_batch(scores.assign(reason="")) == []


def test_little_batch_effect_is_reported() -> None:
    """kBET 0.87 before any correction (issue 12, point 11)."""
    (told,) = score_checks.little_batch_effect(_scores({"pca": {"kbet": 0.87}, "harmony": {"kbet": 0.9}}))
    assert told["code"] == "W-MET-06" and "kBET is 0.87 (limit 0.8)" in told["text"]
    assert score_checks.little_batch_effect(_scores({"pca": {"kbet": 0.4}, "harmony": {"kbet": 0.9}})) == []


def test_a_method_that_does_nothing_and_copies_are_reported() -> None:
    rng = np.random.default_rng(0)
    shapes = {"pca": rng.random(276) + 1, "model": rng.random(276) + 1, "other": rng.random(276) + 1}
    marks = {
        "pca.raw.0": shapes["pca"],
        "harmony.raw.0": 2 * shapes["pca"],
        "model.raw.0": shapes["model"],
        "copy.raw.0": shapes["model"] * (1 + 1e-4),
        "model.l2.0": shapes["model"],
        "other.raw.0": shapes["other"],
    }
    plan = pd.DataFrame([dict(zip(("method", "correction", "seed"), n.split("."), strict=True)) for n in marks])
    plan = plan.assign(dataset="d", embedding=list(marks), is_control=False, seed=plan["seed"].astype(int))
    statuses = [
        {"dataset": "d", "embedding": n, "step": "score", "fingerprint": list(map(float, v))} for n, v in marks.items()
    ]
    told = {m["embedding"]: m for m in score_checks.same_embeddings(statuses, plan, NAMES)}
    assert {n: (m["code"], m["values"]["same_as"]) for n, m in told.items()} == {
        "harmony.raw.0": ("W-SAME-01", "pca.raw.0"),
        "model.raw.0": ("W-SAME-02", "copy.raw.0"),
        "model.l2.0": ("W-SAME-01", "model.raw.0"),
    }
    assert told["harmony.raw.0"]["text"].startswith("harmony left PCA as it was")


def test_a_gain_of_unit_length_alone_is_reported() -> None:
    """l2 removes no batch and gave +0.03 of total to every center_l2 (issue 12, point 12)."""
    rows = [("m", "raw", 0.5), ("m", "l2", 0.53), ("m", "center_l2", 0.55), ("n", "raw", 0.5), ("n", "l2", 0.5)]
    rows.append(("n", "center_l2", 0.6))
    totals = pd.DataFrame(rows, columns=["method", "correction", "total"]).assign(dataset="d")
    (told,) = score_checks.unit_length_gains(totals, NAMES, 0.02)
    assert list(told["values"]) == ["m"] and "m (+0.030 of +0.050)" in told["text"]
    assert score_checks.unit_length_gains(totals[totals["correction"] != "l2"], NAMES, 0.02) == []


def test_l2_runs_beside_center_l2() -> None:
    methods = load_methods(ASSETS / "methods.tsv")
    given = {"methods": "pca", "controls": "none", "seeds": "0"}
    assert choose({**given, "corrections": "center_l2"}, methods, load_corrections())[0].corrections == [
        "l2",
        "center_l2",
    ]
    assert choose({**given, "corrections": "center"}, methods, load_corrections())[0].corrections == ["center"]


# --- the role of the batch -------------------------------------------------------------------------------------------


def test_batches_that_look_like_conditions_give_a_question() -> None:
    batch = pd.Series(["ctrl", "stim"] * 20)
    donors = pd.Series([f"p{i // 2 % 4}" for i in range(40)])
    (told,) = role_question({"batch_key": "stim"}, {"batch_key": batch, "donor_key": donors, "condition_key": batch})
    assert told["code"] == "W-CONF-04" and told["text"].startswith("Is 'stim' a technical batch? These signs")
    assert "all 4 donors are in every level" in told["text"] and "condition_key splits" in told["text"]
    assert role_question({"batch_key": "stim", "batch_role": "technical"}, {"batch_key": batch}) == []
    assert role_question({"batch_key": "b"}, {"batch_key": None}) == []
    for plain in (["3pv1", "3pv2", "5p"], ["donor1", "donor2"], ["lane_1", "lane_2", "control_lane"]):
        assert looks_like_conditions(pd.Series(plain * 5)) == [], plain
    assert looks_like_conditions(pd.Series(["Lung", "Bone marrow", "Liver"] * 3))
    assert looks_like_conditions(pd.Series(["d1", "d2"] * 5), donor=pd.Series(["d1", "d2"] * 5)) == []


def test_a_weight_that_is_given_twice_is_one_weight():
    assert Limits.of({"total_weights": "0.6,.6, 0.60,0.5"}).bio_weights == (0.6, 0.5)
    assert Limits.of({"total_weights": 1}).bio_weights == (1.0,)
