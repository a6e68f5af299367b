"""Totals: weights, anchors, and what a missing value does to them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scfm.errors import ScfmError
from scfm.metrics.anchors import find_anchors, scaled_values
from scfm.metrics.registry import ASSETS, load_metrics
from scfm.metrics.totals import COLUMNS, TotalRules, compute_totals
from scfm.report.tables.load import read_metrics

TABLE = read_metrics(ASSETS / "metrics.tsv", "paper")
STANDARD = read_metrics(ASSETS / "metrics.tsv", "standard")
CONTROLS = ("shuffled", "label_onehot", "shuffled_within_label")
BIO = ["leiden_nmi", "leiden_ari", "silhouette_label"]
BATCH = ["bras", "graph_connectivity"]
BIO_STANDARD = list(STANDARD.query("in_total and group == 'bio'")["name"])
BATCH_STANDARD = list(STANDARD.query("in_total and group == 'batch'")["name"])


def _rows(
    method: str, values: dict[str, float | str], *, dataset: str = "d", seed: int = 0, family: str | None = None
) -> list[dict]:
    """Rows of scores.tsv; a text instead of a value is the reason why there is none ('failed: ...' for a failure)."""
    rows = []
    for metric, value in values.items():
        reason = value if isinstance(value, str) else ""
        rows.append(
            {
                "dataset": dataset,
                "embedding": f"{method}.raw.{seed}",
                "method": method,
                "family": family or ("control" if method in CONTROLS else "linear"),
                "correction": "raw",
                "seed": seed,
                "batch_key": "batch",
                "label_key": "cell_type",
                "metric": metric,
                "group": "all",
                "value": np.nan if reason else value,
                "n_cells": 100,
                "status": ("failed" if reason.startswith("failed") else "not_applicable") if reason else "ok",
                "reason": reason,
                "higher_is_better": True,
            }
        )
    return rows


def _scores(*parts: list[dict]) -> pd.DataFrame:
    return pd.DataFrame([row for part in parts for row in part])


def _full(bio: float, batch: float) -> dict[str, float | str]:
    return dict.fromkeys(BIO, bio) | dict.fromkeys(BATCH, batch)


def _one(totals: pd.DataFrame, method: str, scaling: str = "raw", weight: float = 0.5) -> pd.Series:
    found = totals[(totals["method"] == method) & (totals["scaling"] == scaling) & (totals["bio_weight"] == weight)]
    assert len(found) == 1
    return found.iloc[0]


def test_means_weights_and_columns() -> None:
    values = {
        "leiden_nmi": 0.9,
        "leiden_ari": 0.6,
        "silhouette_label": 0.3,
        "bras": 0.8,
        "graph_connectivity": 0.4,
        "ilisi": 0.0,
    }
    totals = compute_totals(_scores(_rows("m", values)), TABLE, (0.6, 0.5), "paper")
    assert list(totals.columns) == COLUMNS
    assert len(totals) == 4
    for weight, expected in ((0.6, 0.6 * 0.6 + 0.4 * 0.6), (0.5, 0.6)):
        row = _one(totals, "m", weight=weight)
        assert (row["bio"], row["batch"], row["total"]) == pytest.approx((0.6, 0.6, expected))
        assert (row["n_bio"], row["n_batch"], row["status"], row["missing"], row["reason"]) == (3, 2, "ok", "", "")


def test_standard_and_full_have_the_same_total_and_labels_do_not_count() -> None:
    metrics = load_metrics()
    values = {m.name: 0.5 if "standard" in m.in_total else 0.0 for m in metrics.values()}
    assert values["graph_connectivity"] == 0 and values["graph_connectivity_undirected"] == 0.5
    scores = _scores(_rows("m", values))
    parts = scores.assign(group="T cell", value=0.0)
    for profile in ("standard", "full"):
        row = _one(
            compute_totals(pd.concat([scores, parts]), read_metrics(ASSETS / "metrics.tsv", profile), (0.5,), profile),
            "m",
        )
        assert (row["total"], row["n_bio"], row["n_batch"]) == (0.5, 7, 5)


def _anchored(*extra: list[dict]) -> pd.DataFrame:
    """Anchors: bio 0.2 to 1.0, BRAS 0 to 0.8, connectivity 0 to 1 (numbers of the table)."""
    return _scores(
        _rows("shuffled", _full(0.2, 0.7)),
        _rows("label_onehot", _full(1.0, 0.9)),
        _rows("shuffled_within_label", dict.fromkeys(BIO, 0.5) | {"bras": 0.8, "graph_connectivity": 0.5}),
        *extra,
    )


def test_scaled_between_fixed_controls() -> None:
    totals = compute_totals(_anchored(_rows("m", _full(0.6, 0.4))), TABLE, (0.5,), "paper")
    row = _one(totals, "m", "controls")
    assert row["bio"] == pytest.approx(0.5)
    assert row["batch"] == pytest.approx((0.4 / 0.8 + 0.4) / 2)
    assert row["total"] == pytest.approx((0.5 + 0.45) / 2)
    assert _one(totals, "shuffled", "controls")["bio"] == pytest.approx(0)
    assert _one(totals, "label_onehot", "controls")["bio"] == pytest.approx(1)
    assert _one(totals, "label_onehot", "controls")["batch"] == pytest.approx((1 + 0.9) / 2)  # 0.9 / 0.8 is capped
    anchors = find_anchors(_anchored(), TABLE.set_index("name").loc[BIO + BATCH])
    scaled = scaled_values(_anchored(), anchors)
    assert scaled[_anchored().eval("method == 'label_onehot' and metric == 'bras'")].item() == pytest.approx(1.125)


def test_who_else_is_in_the_table_changes_nothing() -> None:
    few = compute_totals(_anchored(_rows("m", _full(0.6, 0.4))), TABLE, (0.6, 0.5), "paper")
    many = compute_totals(
        _anchored(_rows("m", _full(0.6, 0.4)), _rows("star", _full(0.99, 0.99)), _rows("worst", _full(0.0, 0.0))),
        TABLE,
        (0.6, 0.5),
        "paper",
    )
    kept = many[many["method"].isin(few["method"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(few, kept)


def test_anchor_is_the_mean_over_seeds_of_the_control_only() -> None:
    scores = _anchored(
        _rows("shuffled", _full(0.4, 0.7), seed=1), _rows("m", _full(0.65, 0.4)), _rows("random", _full(0.0, 0.0))
    )
    impostor = _rows("shuffled", _full(0.9, 0.9), seed=2, family="imported")
    totals = compute_totals(_scores(scores.to_dict("records"), impostor), TABLE, (0.5,), "paper")
    assert _one(totals, "m", "controls")["bio"] == pytest.approx((0.65 - 0.3) / 0.7)


def test_without_controls_scaled_totals_are_na_with_the_reason() -> None:
    totals = compute_totals(_scores(_rows("m", _full(0.6, 0.4))), TABLE, (0.5,), "paper")
    assert _one(totals, "m")["total"] == pytest.approx(0.5)
    row = _one(totals, "m", "controls")
    assert np.isnan(row[["bio", "batch", "total"]].astype(float)).all()
    assert row["status"] == "not_applicable"
    assert "leiden_nmi:no_anchor_shuffled_label_onehot" in row["reason"]
    assert "bras:no_anchor_shuffled_within_label" in row["reason"]


def test_anchors_that_coincide() -> None:
    scores = _scores(
        _rows("shuffled", _full(0.5, 0.7)),
        _rows("label_onehot", _full(0.5, 0.7)),
        _rows("shuffled_within_label", _full(0.5, 0.7)),
    )
    row = _one(compute_totals(scores, TABLE, (0.5,), "paper"), "shuffled", "controls")
    assert row["batch"] == pytest.approx((1 + 0.7) / 2)
    assert np.isnan(row["bio"])
    assert (row["reason"], row["missing"]) == ("no_bio_metric", ",".join(BIO))


def test_a_short_span_leaves_a_metric_out_of_scaled_totals_for_all() -> None:
    """Unequal composition: kBET of the high anchor is 0.05, so noise at 0.6 was scaled to 12 (issue 12, point 1)."""
    values = {"m": (0.6, 0.04, 0.5), "noise": (0.1, 0.6, 0.9)}
    scores = _scores(
        _rows("shuffled", dict.fromkeys(BIO_STANDARD, 0.1) | dict.fromkeys(BATCH_STANDARD, 0.9)),
        _rows("label_onehot", dict.fromkeys(BIO_STANDARD, 1.0) | dict.fromkeys(BATCH_STANDARD, 0.9)),
        _rows(
            "shuffled_within_label",
            dict.fromkeys(BIO_STANDARD, 0.7) | dict.fromkeys(BATCH_STANDARD, 0.8) | {"kbet": 0.05, "ilisi": 0.099},
        ),
        *(
            _rows(n, dict.fromkeys(BIO_STANDARD, a) | dict.fromkeys(BATCH_STANDARD, c) | {"kbet": b, "ilisi": b})
            for n, (a, b, c) in values.items()
        ),
    )
    totals = compute_totals(scores, STANDARD, (0.5,), "standard")
    for method, bio, batch in (("m", 0.5 / 0.9, (0.5 / 0.8 * 2 + 0.5) / 3), ("noise", 0.0, (1 + 1 + 0.9) / 3)):
        row = _one(totals, method, "controls")
        assert (row["bio"], row["batch"]) == pytest.approx((bio, batch))
        assert (row["missing"], row["n_batch"], row["status"]) == ("ilisi,kbet", 3, "ok")
        assert _one(totals, method)["n_batch"] == 5
    assert totals[["bio", "batch", "total"]].apply(lambda c: c.dropna().between(0, 1).all()).all()
    wider = compute_totals(scores, STANDARD, (0.5,), "standard", TotalRules(min_span=0.01))
    assert _one(wider, "noise", "controls")["n_batch"] == 5


def test_a_biological_batch_has_no_batch_mean_and_no_total() -> None:
    rules = TotalRules(roles={"d": "biological"})
    row = _one(compute_totals(_scores(_rows("m", _full(0.6, 0.4))), TABLE, (0.5,), "paper", rules), "m")
    assert (row["bio"], row["status"], row["reason"]) == (pytest.approx(0.6), "not_applicable", "batch_is_biology")
    assert np.isnan(row["batch"]) and np.isnan(row["total"])


def test_metric_missing_for_one_embedding_makes_its_total_na() -> None:
    totals = compute_totals(
        _scores(
            _rows("good", _full(0.6, 0.4)),
            _rows("bad", _full(0.6, 0.4) | {"bras": "failed: no"}),
            _rows("graph", _full(0.6, 0.4) | {"silhouette_label": "graph_output", "bras": "graph_output"}),
        ),
        TABLE,
        (0.5,),
        "paper",
    )
    assert _one(totals, "good")["total"] == pytest.approx(0.5)
    bad = _one(totals, "bad")
    assert bad["bio"] == pytest.approx(0.6)
    assert np.isnan(bad["batch"])
    assert np.isnan(bad["total"])
    assert (bad["status"], bad["reason"], bad["missing"], bad["n_batch"]) == ("failed", "bras:failed", "bras", 1)
    graph = _one(totals, "graph")
    assert (graph["status"], graph["reason"]) == ("not_applicable", "silhouette_label:graph_output,bras:graph_output")
    assert np.isnan(graph["total"])


def test_a_metric_without_a_row_is_a_failure_not_a_gap() -> None:
    values = _full(0.6, 0.4)
    del values["bras"]
    row = _one(compute_totals(_scores(_rows("m", values)), TABLE, (0.5,), "paper"), "m")
    assert (row["status"], row["reason"]) == ("failed", "bras:not_computed")
    assert np.isnan(row["total"])


def test_undefined_for_the_whole_data_set_is_left_out_for_all() -> None:
    """No label in two batches: BRAS has no value for anyone, the totals compare the rest."""
    gone = {"bras": "label_in_one_batch"}
    totals = compute_totals(
        _scores(_rows("a", _full(0.6, 0.4) | gone), _rows("b", _full(0.7, 0.3) | gone)), TABLE, (0.5,), "paper"
    )
    row = _one(totals, "a")
    assert (row["batch"], row["total"], row["n_batch"]) == pytest.approx((0.4, 0.5, 1))
    assert (row["status"], row["missing"]) == ("ok", "bras")


@pytest.mark.parametrize("own", ["graph_output", "labels_seen", "constant"])
def test_an_embedding_with_a_reason_of_its_own_does_not_bring_an_undefined_metric_back(own: str) -> None:
    """Small labels: kBET is `too_few_cells` for all but BBKNN, whose reason is that it is a graph."""
    gone = {"bras": "too_few_cells"}
    parts = [_rows(m, _full(0.6, 0.4) | gone) for m in ("a", "b")]
    totals = compute_totals(_scores(*parts, _rows("g", _full(0.6, 0.4) | {"bras": own})), TABLE, (0.5,), "paper")
    row = _one(totals, "a")
    assert (row["total"], row["n_batch"], row["missing"]) == (pytest.approx(0.5), 1, "bras")
    broken = {"bras": "failed: no"}
    totals = compute_totals(_scores(*parts, _rows("g", _full(0.6, 0.4) | broken)), TABLE, (0.5,), "paper")
    assert np.isnan(_one(totals, "a")["total"])  # it might have had a value


def test_one_batch_leaves_bio_and_no_total() -> None:
    gone = dict.fromkeys(BATCH, "one_batch")
    row = _one(compute_totals(_scores(_rows("m", _full(0.6, 0.4) | gone)), TABLE, (0.5,), "paper"), "m")
    assert row["bio"] == pytest.approx(0.6)
    assert np.isnan(row["batch"])
    assert np.isnan(row["total"])
    assert (row["status"], row["reason"]) == ("not_applicable", "no_batch_metric")


def test_data_sets_do_not_touch_each_other() -> None:
    both = compute_totals(
        _scores(_anchored(_rows("m", _full(0.6, 0.4))).to_dict("records"), _rows("m", _full(0.1, 0.1), dataset="e")),
        TABLE,
        (0.5,),
        "paper",
    )
    assert _one(both[both["dataset"] == "d"], "m", "controls")["bio"] == pytest.approx(0.5)
    assert np.isnan(_one(both[both["dataset"] == "e"], "m", "controls")["bio"])


def test_wrong_input() -> None:
    with pytest.raises(ScfmError, match=r"between 0 and 1; got 1\.5"):
        compute_totals(_scores(_rows("m", _full(0.6, 0.4))), TABLE, (0.5, 1.5), "paper")
    twice = _scores(_rows("m", _full(0.6, 0.4)), _rows("m", _full(0.6, 0.4)))
    with pytest.raises(ValueError, match="duplicate"):
        compute_totals(twice, TABLE, (0.5,), "paper")
    assert compute_totals(_scores(_rows("m", {"ilisi": 0.4})), TABLE, (0.5,), "paper").empty
