"""Ours against published: tolerances at their edge, absent values, order and rank agreement by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers_published import probing_row, probing_rows, score_row, score_rows
from scfm.study.compare import CLASSICAL, compare, compare_probing, distance, judge, our_scores
from scfm.study.published import METRICS, Published, load_published
from scfm.study.ranks import rank_agreement, rank_verdict, smallest_p


@pytest.fixture(scope="module")
def published() -> Published:
    return load_published()


def one(table: pd.DataFrame, **where) -> pd.Series:
    """Return the only row with these values."""
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


# ---------------------------------------------------------------- scores


def test_the_published_values_themselves_are_all_within(published):
    for scenario in published.scenarios():
        table = compare(scenario, score_rows(scenario, published), published)
        assert len(table) == 160 and set(table["verdict"]) == {"within"}
        metrics = table[table["metric"].isin(METRICS)]
        assert (metrics["difference"] == 0).all()
        # bio, batch and total are computed from rounded metrics
        assert table["difference"].abs().max() <= 0.01


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [(0.03, "within"), (-0.03, "within"), (0.0301, "outside"), (-0.0301, "outside"), (0.03004, "within")],
)
def test_the_edge_of_the_tolerance_is_within_whatever_the_doubles_say(published, shift, verdict):
    for scenario in published.scenarios():
        rows = score_rows(scenario, published, shift=lambda _m, _v, metric: shift if metric == "bras" else 0)
        table = compare(scenario, rows, published)
        assert set(table.loc[table["metric"] == "bras", "verdict"]) == {verdict}
        assert set(table.loc[table["metric"] == "leiden_ari", "verdict"]) == {"within"}


def test_the_total_has_the_narrower_tolerance(published):
    """All five metrics 0.025 too high: each is within, bio and batch too, the total is not."""
    table = compare("liver", score_rows("liver", published, shift=lambda *_: 0.025), published)
    totals = table[table["metric"] == "total"].set_index("method")
    assert (table.loc[table["metric"].isin(METRICS), "verdict"] == "within").all()
    # PCA's printed total is 0.68; its metrics give 0.6792, and 0.025 more
    pca = totals[totals["correction"] == "raw"].loc["pca"]
    assert pca["difference"] == pytest.approx(
        ((0.76 + 0.54 + 0.60) / 3 + (0.59 + 0.86) / 2) / 2 + 0.025 - 0.68, abs=5e-5
    )
    assert (pca["tolerance"], pca["verdict"], pca["basis"]) == (0.02, "outside", "specification")


def test_basis_is_the_specification_for_uncorrected_classical_methods_only(published):
    table = compare("Immune", score_rows("Immune", published), published)
    assert set(table.loc[table["basis"] == "specification", "method"]) == set(CLASSICAL)
    assert set(table.loc[table["method"].isin(["uce", "scgpt"]), "basis"]) == {"informative"}


def test_absent_values_stay_empty_on_both_sides(published):
    rows = pd.DataFrame(
        [
            *(score_row("pca", m, 0.5) for m in METRICS),
            *(score_row("pca", m, 0.5, correction="center_l2") for m in METRICS),
            *(score_row("mine", m, 0.4) for m in METRICS),
            score_row("harmony", "bras", 0.8),
            score_row("scvi", "bras", 0.8, status="failed"),
            score_row("pca", "kbet", 0.9),
            score_row("pca", "bras", 0.1, correction="drop_pc1"),
            {**score_row("pca", "bras", 0.9), "group": "T cell"},
        ]
    )
    table = compare("liver", rows, published)
    assert set(table["metric"]) == {*METRICS, "bio", "batch", "total"} and set(table["correction"]) == {
        "raw",
        "center_l2",
    }
    centred = table[(table["method"] == "pca") & (table["correction"] == "center_l2")]
    assert (
        set(centred["verdict"]) == {"no published value"}
        and centred["published"].isna().all()
        and centred["difference"].isna().all()
    )
    assert set(table.loc[table["method"] == "mine", "verdict"]) == {"no published value"}
    harmony = table[(table["method"] == "harmony")].set_index("metric")
    assert (
        harmony.loc["bras", "verdict"] == "within"
        and harmony.loc["total", "verdict"] == "not run"
        and math.isnan(harmony.loc["total", "ours"])
    )
    assert (
        one(table, method="scvi", metric="bras")["verdict"] == "not run"
        and one(table, method="scvi", metric="bras")["published"] == 0.79
    )
    assert one(table, method="uce", correction="raw", metric="total")[["seeds", "verdict"]].tolist() == [0, "not run"]
    assert one(table, method="pca", correction="raw", metric="bras")["ours"] == 0.5


def test_seeds_are_averaged_and_a_seed_without_a_metric_has_no_total():
    rows = pd.DataFrame(
        [
            *(score_row("scvi", m, 0.6, seed=0) for m in METRICS),
            *(score_row("scvi", m, 0.8, seed=1, status="ok" if m != "bras" else "failed") for m in METRICS),
        ]
    )
    found = our_scores(rows).set_index("metric")
    assert found.loc["leiden_nmi", ["ours", "seeds"]].tolist() == pytest.approx([0.7, 2])
    assert found.loc["bras", ["ours", "seeds"]].tolist() == pytest.approx([0.6, 1])
    assert found.loc["bio", ["ours", "seeds"]].tolist() == pytest.approx([0.7, 2])
    assert found.loc["total", ["ours", "seeds"]].tolist() == pytest.approx([0.6, 1])


def test_published_methods_come_first_raw_before_centred(published):
    rows = pd.DataFrame([score_row("aaa", m, 0.5) for m in METRICS])
    table = compare("limb", rows, published)
    order = list(dict.fromkeys(zip(table["method"], table["correction"], strict=True)))
    assert (
        [m for m, v in order if v == "raw"][:4] == list(CLASSICAL)
        and order[12] == ("aaa", "raw")
        and order[13][1] == "center_l2"
    )
    assert table["metric"].head(8).tolist() == [*METRICS, "bio", "batch", "total"]


def test_an_empty_run_is_not_run_everywhere(published):
    table = compare("limb", score_rows("limb", published).iloc[:0], published)
    assert len(table) == 160 and set(table["verdict"]) == {"not run"}
    ranks = rank_agreement(table)
    assert set(ranks["n"]) == {0} and ranks["tau"].isna().all()
    assert rank_verdict(table, "limb").verdict == "incomplete"


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.integers(0, 100), st.integers(0, 20))
def test_distance_is_zero_inside_and_signed_outside(ours, low, width):
    a, b = low / 100, (low + width) / 100
    gap = float(distance(pd.Series([ours]), pd.Series([a]), pd.Series([b]))[0])
    assert gap == pytest.approx(0 if a <= ours <= b else ours - b if ours > b else ours - a, abs=5.1e-5)
    tolerance = pd.Series([0.03])
    assert judge(pd.DataFrame({"ours": [ours], "difference": [gap], "tolerance": tolerance})) == [
        "within" if abs(gap) <= 0.03 else "outside"
    ]


# ---------------------------------------------------------------- ranks


def totals(ours: dict[str, float], published: dict[str, float], correction: str = "raw") -> pd.DataFrame:
    """Return the totals of a comparison."""
    return pd.DataFrame(
        {
            "method": list(ours),
            "correction": correction,
            "metric": "total",
            "ours": list(ours.values()),
            "published": [published[m] for m in ours],
        }
    )


def test_kendalls_tau_with_a_tie_by_hand():
    """Five of six pairs are no tie: four agree, one does not; tau-b = (4 - 1) / sqrt(5 * 6)."""
    table = totals({"a": 0.5, "b": 0.6, "c": 0.40, "d": 0.45}, {"a": 0.8, "b": 0.8, "c": 0.7, "d": 0.6})
    (row,) = rank_agreement(table).to_dict("records")
    assert (row["n"], row["rows"]) == (4, "raw")
    assert row["tau"] == pytest.approx(3 / math.sqrt(30))


def test_kendalls_p_without_ties_is_exact_by_counting_all_orders():
    """Of 24 orders of four, 1 + 3 have tau of at least 2/3; twice that for the two sides."""
    table = totals({"a": 0.9, "b": 0.7, "c": 0.8, "d": 0.1}, {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6})
    (row,) = rank_agreement(table).to_dict("records")
    assert row["tau"] == pytest.approx(4 / 6) and row["p"] == pytest.approx(8 / 24)
    assert smallest_p(4) == pytest.approx(2 / 24) and smallest_p(1) == 1


def test_ranks_over_raw_and_centred_are_distinguished(published):
    raw = totals({"a": 0.3, "b": 0.2}, {"a": 0.9, "b": 0.8})
    centred = totals({"a": 0.1, "c": 0.9}, {"a": 0.95, "c": math.nan}, correction="center_l2")
    found = rank_agreement(pd.concat([raw, centred], ignore_index=True)).set_index("rows")
    assert found["n"].to_dict() == {"raw": 2, "raw and center_l2": 3}
    assert found["tau"].to_dict() == pytest.approx({"raw": 1.0, "raw and center_l2": -1 / 3})


def test_equal_values_have_no_rank_agreement():
    (row,) = rank_agreement(totals({"a": 0.5, "b": 0.5, "c": 0.5}, {"a": 0.1, "b": 0.2, "c": 0.3})).to_dict("records")
    assert math.isnan(row["tau"]) and row["n"] == 3


def test_order_of_the_classical_methods(published):
    rows = score_rows("HLCA_sn", published)
    verdict = rank_verdict(compare("HLCA_sn", rows, published), "HLCA_sn")
    assert (
        verdict.required
        and verdict.verdict == "matches"
        and verdict.ours == verdict.published == ("scvi", "harmony", "pca", "scanorama")
    )
    lower = score_rows("HLCA_sn", published, shift=lambda m, v, _metric: -0.05 if (m, v) == ("scvi", "raw") else 0)
    verdict = rank_verdict(compare("HLCA_sn", lower, published), "HLCA_sn")
    assert verdict.verdict == "differs" and verdict.ours[:2] == ("harmony", "scvi")
    ((first, second, gap, mine),) = verdict.swapped
    assert (first, second, gap) == ("scvi", "harmony", 0.01) and mine == pytest.approx(
        (2.14 / 3 + 0.86) / 2 - 0.05 - (0.7 + 0.85) / 2, abs=5e-5
    )


def test_a_published_tie_may_be_in_either_order_and_a_missing_method_is_reported(published):
    for shift in (0.01, -0.01):  # Harmony and scVI tie in liver
        rows = score_rows("liver", published, shift=lambda m, _v, _metric, s=shift: s if m == "scvi" else 0)
        verdict = rank_verdict(compare("liver", rows, published), "liver")
        assert verdict.verdict == "matches" and not verdict.required
    table = compare("limb", score_rows("limb", published).query("method != 'scvi'"), published)
    verdict = rank_verdict(table, "limb")
    assert (
        verdict.verdict == "incomplete"
        and verdict.missing == ("scvi",)
        and verdict.ours == ("harmony", "pca", "scanorama")
    )


# ---------------------------------------------------------------- probing


def test_the_published_probing_is_all_within(published):
    for scenario in published.scenarios():
        table = compare_probing(scenario, probing_rows(scenario, published), published)
        assert (
            set(table["verdict"]) == {"within"}
            and (table["difference"] == 0).all()
            and set(table["basis"]) == {"informative"}
        )
        assert len(table) == (published.probing["scenario"] == scenario).sum()


@pytest.mark.parametrize(
    ("ours", "difference", "verdict"),
    [
        (0.60, 0, "within"),
        (0.70, 0, "within"),
        (0.85, 0, "within"),
        (0.90, 0.05, "within"),
        (0.9001, 0.0501, "outside"),
        (0.55, -0.05, "within"),
        (0.5, -0.1, "outside"),
    ],
)
def test_a_value_inside_a_published_range_has_no_difference(published, ours, difference, verdict):
    """CellPLM after centring in limb: 0.60 to 0.85, read from a scatter plot, so 0.02 is added to 0.03."""
    rows = pd.DataFrame([probing_row("cellplm", "batch", "macro_f1", ours, correction="center_l2")])
    row = one(compare_probing("limb", rows, published), method="cellplm", correction="center_l2", metric="macro_f1")
    assert (row["difference"], row["verdict"], row["tolerance"]) == (
        pytest.approx(difference),
        verdict,
        pytest.approx(0.05),
    )
    assert math.isnan(row["published"]) and (row["low"], row["high"], row["precision"]) == (0.60, 0.85, "range")


def test_a_line_plot_is_read_more_sharply(published):
    rows = pd.DataFrame(
        [probing_row("harmony", "label", "macro_f1", 0.76), probing_row("pca", "batch", "accuracy", 0.7901)]
    )
    table = compare_probing("Immune", rows, published)
    assert one(table, method="harmony", target="label", metric="macro_f1")[["difference", "verdict"]].tolist() == [
        0.04,
        "within",
    ]
    assert one(table, method="pca", target="batch", metric="accuracy")[["difference", "verdict"]].tolist() == [
        0.0401,
        "outside",
    ]


def test_only_the_studys_probe_counts_and_seeds_are_averaged(published):
    good = [probing_row("scvi", "batch", "accuracy", v, seed=s) for s, v in enumerate((0.4, 0.6))]
    others = [
        probing_row("scvi", "batch", "accuracy", 0.0, **change)
        for change in (
            {"scheme": "leave_one_batch_out"},
            {"classifier": "knn"},
            {"fold": "0"},
            {"fold": "sd"},
            {"group": "T"},
            {"status": "failed"},
            {"correction": "center"},
        )
    ]
    rows = pd.DataFrame(
        [
            *good,
            *others,
            probing_row("scvi", "batch", "balanced_accuracy", 0.0),
            probing_row("mine", "label", "accuracy", 0.9),
        ]
    )
    table = compare_probing("liver", rows, published)
    scvi = one(table, method="scvi", target="batch", metric="accuracy")
    assert scvi["ours"] == pytest.approx(0.5) and scvi["seeds"] == 2
    assert one(table, method="mine", target="label", metric="accuracy")["verdict"] == "no published value"
    assert one(table, method="pca", target="batch", metric="accuracy")["verdict"] == "not run"


def test_ranges_take_no_part_in_rank_agreement(published):
    table = compare_probing("HLCA_sn", probing_rows("HLCA_sn", published), published)
    ranks = rank_agreement(table).set_index(["target", "metric", "rows"])
    points = table[(table["target"] == "batch") & (table["metric"] == "macro_f1") & table["published"].notna()]
    assert ranks.loc[("batch", "macro_f1", "raw and center_l2"), "n"] == len(points) < 20
    assert np.isfinite(ranks.loc[("batch", "macro_f1", "raw"), "tau"])
