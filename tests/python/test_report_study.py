"""The study's figures in the report: known readings of its printed tables, and what is left out where there is nothing
to show.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from helpers_study_report import ASSETS, SCENARIOS, identify, study_data, study_scores
from scfm.report.build import build_modules
from scfm.report.page.mqc import Section
from scfm.report.plots.slopes import Slope, draw_slopes, spread
from scfm.report.sections import across, centroids
from scfm.report.sections.across import probe_sections, rank_table, size_sections
from scfm.report.sections.centring import centring_sections
from scfm.report.sections.centroids import alignment_rates, alignment_sections, map_sections
from scfm.report.sections.design import baseline_sections, confounding_sentences, design_sections
from scfm.report.sections.figure import figure_sections
from scfm.report.sections.ranks import rank_sentences
from scfm.report.tables.totals import Limits
from scfm.report.view.study import counted_metrics, paired, pearson, ranks, ranks_without, study_table
from scfm.text import ordinal


@pytest.fixture(scope="module")
def data():
    """The six scenarios with their printed scores."""
    return study_data()


def by_key(sections: list[Section]) -> dict[str, Section]:
    return {s.key: s for s in sections}


def text_of(section: Section) -> str:
    """Return description and content without tags."""
    return re.sub(r"\s+", " ", re.sub(r"<title>.*?</title>|<[^>]+>", " ", f"{section.description} {section.data}"))


def table_rows(html: str) -> dict[str, list[str]]:
    """Return the texts of a table's cells by the name of the row."""
    rows = re.findall(r"<th scope=\"row\">(.*?)</th>(.*?)</tr>", html, re.DOTALL)
    return {name: re.findall(r"<td[^>]*>([^<]*)</td>", cells) for name, cells in rows}


# ---------------------------------------------------------------- totals and ranks


def test_totals_of_equal_halves_are_the_printed_ones(data):
    printed = pd.read_csv(ASSETS / "published" / "scib.tsv", sep="\t").query("metric == 'total'")
    for scenario, part in printed.groupby("scenario"):
        table = study_table(data, str(scenario)).set_index(["method", "correction"])["total"]
        for row in part.itertuples():
            assert table[row.method, row.correction] == pytest.approx(row.value, abs=0.0101), row


@pytest.mark.parametrize(
    ("scenario", "places", "tied"),
    [
        ("liver", (6, 3), 0),
        ("Immune", (11, 7), 0),
        ("HLCA_disease", (11, 5), 0),
        ("HLCA_assay", (10, 4), 0),
        ("HLCA_sn", (10, 4), 0),
        ("limb", (4, 3), 1),
    ],
)
def test_uce_hangs_on_graph_connectivity_as_the_study_s_tables_say(data, scenario, places, tied):
    """The reference text reads these places off the printed tables; limb's is a tie of the 4th and 5th."""
    table = study_table(data, scenario).query("correction == 'raw'").reset_index(drop=True)
    found = ranks_without(table, counted_metrics(data, scenario))
    uce = table.index[table["method"] == "uce"][0]
    assert abs(found.loc[uce, "all"] - places[0]) <= tied
    assert found.loc[uce, "graph_connectivity"] == places[1]


def test_ranks_without_a_metric_by_hand():
    """Without m, a's lead is gone; two equal methods share a rank; d lacks n, so it has a rank only where n is left
    out.
    """
    metrics = [{"name": n, "group": g, "title": n} for n, g in (("m", "bio"), ("n", "bio"), ("o", "batch"))]
    table = pd.DataFrame({"m": [1.0, 0.2, 0.2, 0.5], "n": [0.2, 0.6, 0.6, np.nan], "o": [0.5, 0.5, 0.5, 0.9]})
    found = ranks_without(table, metrics)
    assert found.columns.tolist() == ["all", "m", "n"]  # o is alone in its half
    assert found["all"].tolist()[:3] == [1, 2, 2]
    assert found["m"].tolist()[:3] == [3, 1, 1]
    assert found["n"].tolist() == [1, 3, 3, 2]
    assert np.isnan(found.loc[3, "all"]) and np.isnan(found.loc[3, "m"])


def test_a_metric_left_out_brings_a_method_back_that_lacked_it():
    metrics = [{"name": n, "group": g, "title": n} for n, g in (("m", "bio"), ("n", "bio"), ("o", "batch"))]
    table = pd.DataFrame({"m": [0.9, 0.5], "n": [0.1, np.nan], "o": [0.5, 0.9]})
    found = ranks_without(table, metrics)
    assert found["n"].tolist() == [1.0, 1.0]  # 0.9 and 0.5, 0.5 and 0.9: equal totals
    assert np.isnan(found.loc[1, "all"])


def test_moves_of_three_places_are_reported():
    found = pd.DataFrame({"all": [1, 6, 2], "m": [3, 3, 5], "n": [1, 8, 2]})
    said = rank_sentences(["<A>", "B", "C"], found, {"m": "Metric & m", "n": "n"})
    assert said == [
        "B is 6th by all metrics, and 3rd without Metric & m.",
        "C is 2nd by all metrics, and 5th without Metric & m.",
    ]
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 22, 111)] == [
        "1st",
        "2nd",
        "3rd",
        "4th",
        "11th",
        "12th",
        "13th",
        "21st",
        "22nd",
        "111th",
    ]


@given(st.permutations(range(8)))
@settings(max_examples=25, deadline=None)
def test_the_order_of_rows_changes_no_rank(order):
    rng = np.random.default_rng(0)
    metrics = [
        {"name": n, "group": g, "title": n}
        for n, g in zip("abcde", ("bio", "bio", "bio", "batch", "batch"), strict=True)
    ]
    table = pd.DataFrame(rng.random((8, 5)), columns=list("abcde"))
    pd.testing.assert_frame_equal(
        ranks_without(table.iloc[list(order)], metrics).sort_index(), ranks_without(table, metrics)
    )


def test_names_are_escaped_and_long_ones_cut():
    scores = identify(
        study_scores(("liver",)).assign(
            method=lambda s: s["method"].replace({"uce": "<script>alert('x')</script>" + "long" * 20})
        )
    )
    data = study_data(("liver",), scores=scores)
    for section in [
        *figure_sections(data, "liver"),
        *baseline_sections(data, "liver"),
        *centring_sections(data, "liver"),
        *alignment_sections(data, "liver"),
        *map_sections(data, "liver"),
        *design_sections(data, "liver"),
    ]:
        assert "<script" not in str(section.data) + section.description, section.key
        assert "<v>" not in str(section.data) and "<i>" not in str(section.data), section.key
    assert "&lt;script" in figure_sections(data, "liver")[0].data


# ---------------------------------------------------------------- centring


def test_slopes_hold_harmony_s_line_at_its_raw_values(data):
    section = by_key(centring_sections(data, "liver"))["slopes"]
    assert [float(v) for v in re.findall(r"Harmony, raw: ([\d.]+)", section.data)] == [0.78, 0.75, 0.81]
    assert section.data.count(" raw, ") == 3 * 8  # a tip at the line of every model in every panel
    assert "The total rises for 7 of 8, by more than 0.02 for 6." in section.description
    assert "Of 8 other centred methods, none passes Harmony's raw total by more than 0.02." in section.description


def test_changes_are_those_of_the_printed_tables(data):
    """Mean changes over the eight models: limb's BRAS rises by 0.164, HLCA_sn's by 0.284, Immune's total falls by
    0.06.
    """
    for scenario, metric, change in (
        ("limb", "bras", 0.164),
        ("HLCA_sn", "bras", 0.284),
        ("HLCA_sn", "leiden_nmi", 0.0),
        ("Immune", "graph_connectivity", -0.11),
    ):
        both = paired(study_table(data, scenario))
        assert len(both) == 8
        assert (both[f"{metric}_centred"] - both[f"{metric}_raw"]).mean() == pytest.approx(change, abs=6e-4), (
            scenario,
            metric,
        )
    section = by_key(centring_sections(data, "HLCA_sn"))["changes"]
    assert "BRAS changes by +0.28 on average, Graph connectivity by +0.01." in section.description
    assert "Mean of 8" in section.data


def test_without_harmony_there_is_no_line_and_the_text_says_so():
    scores = study_scores(("liver",))
    section = by_key(centring_sections(study_data(("liver",), scores=scores[scores["method"] != "harmony"]), "liver"))[
        "slopes"
    ]
    assert "Harmony, raw" not in section.data and "dashed:" not in section.data
    assert "Harmony has no total in this run" in section.description


def test_without_a_centred_embedding_there_is_no_centring():
    scores = study_scores(("liver",))
    assert centring_sections(study_data(("liver",), scores=scores[scores["correction"] == "raw"]), "liver") == []


def test_names_at_slopes_keep_a_line_apart_and_inside():
    places = spread([10.0, 11.0, 12.0, 95.0, 96.0], 0.0, 100.0)
    assert all(b - a >= 13 - 1e-9 for a, b in itertools.pairwise(places))
    assert places[-1] <= 100
    svg = draw_slopes([("T", [Slope("a<b", 0.5, 0.4), Slope("c", 0.5, 0.5)], None)], reference="H", key="k")
    assert "a&lt;b -0.10" in svg and "c 0.00" in svg and "<b" not in svg


def test_the_probes_before_and_after_have_a_diagonal(data):
    section = by_key(centring_sections(data, "liver"))["probe_centred"]
    assert section.data.count('aria-label="Centred against Raw"') == section.data.count("dashed: no change") == 4
    assert re.search(r"Geneformer: raw 0\.9\d+, centred 0\.\d+", section.data)


# ---------------------------------------------------------------- baselines and design


def test_who_only_guesses_is_named(data):
    text = text_of(by_key(baseline_sections(data, "liver"))["baselines"])
    assert "Batch, accuracy 0.10 0.18 0.10" in text
    assert re.search(
        r"Batch, accuracy at most 0.02 above always saying the largest class:[^.]*Geneformer \+ center_l2", text
    )
    assert not re.search(r"Label, (accuracy|macro-F1) at most", text)


def test_the_batch_is_reported_with_what_is_confounded(data):
    text = text_of(design_sections(data, "HLCA_sn")[0])
    scenario = data.catalogue["HLCA_sn"]
    for part in (
        scenario.batch_is[:40],
        scenario.confounded_with[:40],
        "Can&#39;t be told apart from the batch: study",
        "study_id",
        "10x &lt;v&gt;",
        "0.41",
        "crossed: every combination occurs",
    ):
        assert part in text, part
    assert "biological: a perfect batch score would mean that this biology is gone" in text_of(
        design_sections(data, "Immune")[0]
    )


def test_a_plain_data_set_shows_what_was_measured_or_nothing():
    data = study_data(("liver",))
    data.datasets[0].pop("scenario")
    assert "by the catalogue" not in design_sections(data, "liver")[0].data
    data.datasets[0]["prepared"]["confounding"] = []
    assert design_sections(data, "liver") == []
    assert confounding_sentences([]) == []


# ---------------------------------------------------------------- centroids


def test_rates_are_means_over_seeds_and_leave_out_what_does_not_count():
    rows = pd.DataFrame(
        {
            "method": "a",
            "correction": "raw",
            "seed": [0, 0, 0, 1, 1, 1],
            "aligned": pd.array([True, False, pd.NA, True, True, pd.NA], dtype="boolean"),
            "chance": [0.5, 0.25, np.nan] * 2,
        }
    )
    found = alignment_rates(rows).loc[("a", "raw")]
    assert (found["rate"], found["chance"], found["counted"], found["centroids"]) == (0.75, 0.375, 2, 3)


def test_the_maps_keep_to_their_budget_and_say_what_is_left_out(data, monkeypatch):
    whole = by_key(map_sections(data, "liver"))["centroid_maps"]
    assert whole.data.count("<figure") == 12
    assert whole.data.count("h0") == 20 * 2 * 24  # every centroid by label and by batch
    monkeypatch.setattr(centroids, "MAP_BUDGET", 10_000 * len(SCENARIOS))
    small = by_key(map_sections(data, "liver"))["centroid_maps"]
    assert 0 < small.data.count("<figure") < 12
    assert re.search(r"\d+ more methods left out to keep the report small", small.description)


def test_no_maps_and_no_rate_show_nothing(data):
    bare = study_data(("liver",))
    bare = bare.with_tables(centroids=bare.centroids.assign(umap_1=np.nan, umap_2=np.nan))
    assert map_sections(bare, "liver") == [] and list(by_key(alignment_sections(bare, "liver"))) == ["alignment"]
    bare = bare.with_tables(
        centroids=bare.centroids.assign(aligned=pd.array([pd.NA] * len(bare.centroids), dtype="boolean"))
    )
    assert map_sections(bare, "liver") == alignment_sections(bare, "liver") == []
    bare = bare.with_tables(centroids=bare.centroids.iloc[:0])
    assert map_sections(bare, "liver") == alignment_sections(bare, "liver") == []


# ---------------------------------------------------------------- across data sets


def test_pearson_equals_scipy():
    x, y = [1.0, 2.0, 4.0, 3.0, 7.0, 5.0, 6.0, 8.0], [0.7, 0.72, 0.6, 0.69, 0.5, 0.66, 0.51, 0.58]
    np.testing.assert_allclose(pearson(x, y), stats.pearsonr(x, y), rtol=1e-12)


@given(st.integers(3, 40), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_pearson_equals_scipy_whatever_the_size(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = 0.5 * x + rng.normal(size=n)
    np.testing.assert_allclose(pearson(x, y), stats.pearsonr(x, y), rtol=1e-7, atol=1e-12)


def test_pearson_is_computed():
    assert all(np.isnan(v) for v in (*pearson([1, 2], [1, 2]), *pearson([1, 1, 1], [1, 2, 3])))
    assert pearson([1, 2, 3, 4], [2, 4, 6, 8]) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-7))


def test_correlations_with_size_are_the_printed_ones(data):
    """From scores of two decimals; the study's own come from unrounded totals."""
    printed = pd.read_csv(ASSETS / "published" / "scaling.tsv", sep="\t").set_index(["scenario", "x"])["pearson_r"]
    section = size_sections(data)[0]
    rows = re.findall(
        r"<tr><td>(\w+)</td><td>8</td><td>(\S+) \((\S+)\)</td><td>(\S+) \((\S+)\)</td></tr>", section.data
    )
    assert len(rows) == 6
    for name, parameters, _, cells, _ in rows:
        assert float(parameters) == pytest.approx(printed[name, "parameters"], abs=0.02), name
        assert float(cells) == pytest.approx(printed[name, "cells"], abs=0.02), name
    assert "n = 8 models: too few for a conclusion." in section.description
    assert "the titles of liver and Immune are exchanged" in section.description


def test_mean_ranks_are_near_the_printed_ones(data):
    section = across.rank_sections(data)[0]
    rows = table_rows(section.data)
    assert list(rows)[:4] == ["scVI", "Harmony", "scCello", "scGPT"]
    for title, rank in (("scVI", 1.2), ("Harmony", 1.8), ("scCello", 3.8), ("UCE", 8.7), ("GeneCompass", 10.7)):
        assert float(rows[title][-2]) == pytest.approx(rank, abs=0.45), title
    totals = [float(cell.split(" ")[0]) for cell in rows["scVI"][:-2]]
    assert len(totals) == 6 and np.mean(totals) == pytest.approx(0.762, abs=0.005)
    heads = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", section.data)
    assert heads[1:-2] == data.dataset_names()
    assert "Over 6 data sets, scVI has the lowest mean rank" in section.description


def test_a_method_that_lacks_a_data_set_comes_last():
    frame = pd.DataFrame({"title": ["a", "b"], "total": [0.9, 0.5], "bio": 0.5, "batch": 0.5, "total_other": 0.5})
    frame["rank_total"], frame["total_sd"] = frame["total"], np.nan
    rows = table_rows(rank_table({"one": frame, "two": frame.iloc[1:]}, Limits()).data)
    assert rows == {"b": ["0.50 (2)", "0.50 (1)", "1.5", "2 of 2"], "a": ["0.90 (1)", "–", "1.0", "1 of 2"]}
    assert (
        table_rows(rank_table({"one": frame.assign(rank_total=[0.4, 0.6])}, Limits()).data)["a"][0] == "0.40 (2)"
    )  # ranked by it
    assert ranks(pd.Series([0.3, np.nan, 0.3, 0.1])).tolist()[::2] == [1, 1]


@pytest.mark.parametrize(
    ("totals", "sd", "leader", "rank", "alike"),
    [
        ([[0.81, 0.80, 0.60], [0.71, 0.70, 0.90]], np.nan, "a has", 1.5, "b (2.5)"),
        ([[0.81, 0.80, 0.60], [0.71, 0.68, 0.50]], np.nan, "a has", 1.0, ""),
        ([[0.81, 0.80, 0.60], [0.71, 0.68, 0.50]], 0.05, "a has", 1.0, "b (2.0)"),
        ([[0.81, 0.70, 0.60], [0.70, 0.81, 0.60]], np.nan, "a, b have", 1.5, ""),
    ],
)
def test_methods_with_equal_totals_on_every_data_set_are_not_told_apart(totals, sd, leader, rank, alike):
    one, two = (pd.DataFrame({"title": list("abc"), "rank_total": t, "total_sd": sd}) for t in totals)
    said = rank_table({"one": one, "two": two}, Limits()).description
    best = f"Over 2 data sets, {leader} the lowest mean rank ({rank}) of 3 methods ranked on all of them"
    assert f"{best}, but a can't be told apart from {alike}: on" in said if alike else f"{best}." in said


def test_lines_hold_every_data_set(data):
    sections = by_key(probe_sections(data))
    assert all(set(line) == set(data.dataset_names()) for line in sections["probing"].data[0].values())
    assert [label["name"] for label in sections["probing"].options["data_labels"]] == [
        "Batch, macro-F1",
        "Batch, accuracy",
        "Label, macro-F1",
        "Label, accuracy",
    ]
    assert sections["probing"].data[1]["Guess: largest class"]["liver"] == 0.18


def test_one_data_set_or_too_few_models_show_less():
    one = study_data(("liver",))
    assert list(by_key(size_sections(one))) == ["sizes"]
    assert probe_sections(one) == across.rank_sections(one) == []
    six_random = replace(
        one,
        names=replace(
            one.names, random_weights=frozenset({"scgpt", "uce", "cellplm", "sccello", "geneformer", "nicheformer"})
        ),
    )
    assert size_sections(six_random) == []
    scores = study_scores(("liver", "limb"))
    plain = study_data(("liver", "limb"), scores=scores[scores["family"] != "foundation_model"])
    assert list(by_key([*across.rank_sections(plain), *probe_sections(plain)])) == ["mean_rank", "probing"]
    two = study_data(("liver", "limb"), scores=scores[scores["method"].isin(["pca", "uce", "scgpt"])])
    assert size_sections(two) == []
    for row in plain.datasets:
        row.pop("scenario")
    assert "exchanged" not in by_key(probe_sections(plain))["probing"].description


# ---------------------------------------------------------------- size


@pytest.mark.slow
def test_fifty_embeddings_of_six_data_sets_stay_small():
    scores = study_scores()
    more = [scores[scores["correction"] == "raw"].assign(method=lambda s, i=i: s["method"] + f"_{i}") for i in range(3)]
    scores = pd.concat([scores, *map(identify, more)], ignore_index=True)
    assert scores.groupby("dataset")["embedding"].nunique().min() >= 50
    data = study_data(scores=scores, batches=16, labels=18)
    modules = build_modules(data)
    assert sum(len(str(s.data)) + len(s.description) for m in modules for s in m.sections) < 12_000_000
    assert {s.dataset for m in modules for s in m.sections} == {"", *SCENARIOS}
