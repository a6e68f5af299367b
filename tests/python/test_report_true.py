"""What the report says where there is nothing to say it of: new cells only, one batch, tests that do not apply."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from helpers_report import read_report
from scfm.registries.messages import message
from scfm.report import page as report_page
from scfm.report.sections import overview, query
from scfm.report.sections.across import ranked_tables
from scfm.report.sections.balanced import balanced_sections
from scfm.report.sections.cards import card_sections
from scfm.report.sections.centring import slope_section
from scfm.report.sections.design import confounding_sentences
from scfm.report.sections.design_checks import balance_table
from scfm.report.sections.fails import sentences
from scfm.report.sections.figure import figure_sections
from scfm.report.sections.guide import methods_text
from scfm.report.sections.losses import marker_sections, overcorrection_sections, rare_sections
from scfm.report.sections.messages import message_sections
from scfm.report.sections.ranks import rank_section
from scfm.report.sections.residual import cluster_sections, residual_sections
from scfm.report.sections.run import status_sections
from scfm.report.sections.verdict import scale, verdict
from scfm.report.summary import run_summary
from scfm.report.tables.score_checks import datasets_of_one_batch, one_batch
from scfm.report.view.data import ReportData
from scfm.report.view.diagnosed import n_diagnosed
from scfm.report.view.labels import Grid
from scfm.report.view.summary import summarise

THEME = Path(report_page.__file__).parent / "theme"


@pytest.fixture(scope="module")
def data(collected_run) -> ReportData:
    """The report data of a synthetic run of two data sets."""
    return read_report(*collected_run)


@pytest.fixture(scope="module")
def mapped(data: ReportData) -> ReportData:
    """A run with ``--reference``: the new cells of two files, one of which could not be mapped."""
    about_embeddings = [name for name, table in data.tables.items() if "embedding" in table]
    empty = {name: data.tables[name].iloc[:0] for name in about_embeddings}
    query = data.query.assign(dataset="ifnb")
    rows = [
        {"dataset": name, "n_cells": 200, "reference": "atlas/reference", "query": f"{name}.h5ad"}
        for name in ("pbmc", "ifnb")
    ]
    return replace(
        data.with_tables(**empty, query=query), plan=data.plan.iloc[:0], datasets=rows, embeddings=[], messages=[]
    )


def scored(embedding: str, **reasons: str) -> list[dict[str, str]]:
    """Rows of ``scores.tsv`` of an embedding: metric and reason, an empty one where there is a value."""
    return [
        {
            "dataset": "d",
            "embedding": embedding,
            "metric": metric,
            "group": "all",
            "status": "not_applicable" if reason else "ok",
            "reason": reason,
        }
        for metric, reason in reasons.items()
    ]


def test_an_embedding_of_one_batch_makes_no_data_set_of_one_batch() -> None:
    mine = scored("mine.raw.0", bras="one_batch", kbet="one_batch", leiden_nmi="")
    assert datasets_of_one_batch(pd.DataFrame(mine + scored("pca.raw.0", bras="one_batch", leiden_nmi=""))) == ["d"]
    for reason in ("", "label_in_one_batch"):
        scores = pd.DataFrame(mine + scored("pca.raw.0", bras=reason, leiden_nmi=""))
        assert datasets_of_one_batch(scores) == [] and one_batch(scores) == []


def test_the_verdict_stays_where_one_embedding_has_the_cells_of_one_batch(data: ReportData) -> None:
    is_mine = (data.scores["embedding"] == "combat.raw.0") & (data.scores["metric"] == "bras")
    scores = data.scores.assign(reason=data.scores["reason"].mask(is_mine, "one_batch"))
    assert is_mine.any()
    points = verdict(data.with_tables(scores=scores), "pbmc", summarise(data, "pbmc"))
    assert not any("one batch" in point for point in points) and points[0].startswith("By total, ")


@pytest.mark.parametrize(
    ("value", "p", "said"),
    [
        (0.8, 0.01, "a kNN probe finds the batch with AUROC 0.80 (chance 0.50)"),
        (0.8, float("nan"), "a kNN probe finds the batch with AUROC 0.80 (chance 0.50)"),
        (0.52, 0.2, "a kNN probe does not find the batch: AUROC 0.52 (chance 0.50, p 0.20)"),
        (0.41, float("nan"), "a kNN probe does not find the batch: AUROC 0.41 (chance 0.50)"),
    ],
)
def test_a_probe_that_guesses_finds_no_batch(data: ReportData, value: float, p: float, said: str) -> None:
    probing = data.probing.assign(value=value, baseline_permuted=0.5, p_value=p)
    (section,) = overview.verdict_sections(data.with_tables(probing=probing))
    assert f"{said}." in " ".join(section.data.split())


def test_new_cells_alone_are_no_failed_preparation(mapped: ReportData) -> None:
    assert overview.describe_run(mapped) == "New cells of 2 data sets, mapped to a reference."
    assert overview.describe_size(mapped, "ifnb") == "200 new cells for the reference atlas/reference."
    assert overview.verdict_line(mapped) == (
        "1 of 2 data sets could not be mapped: pbmc. The reasons are among the messages."
    )
    assert overview.data_set_box(mapped, "ifnb")["shortlist"] == ""
    assert status_sections(mapped, "ifnb") == []


def test_the_summary_says_which_new_cells_were_mapped(mapped: ReportData) -> None:
    lines = run_summary(mapped).splitlines()
    assert lines[0] == "Embeddings: none planned, new cells are mapped to a reference"
    assert "ifnb: mapped to the reference atlas/reference, see tables/query.tsv." in lines
    assert "pbmc: not mapped to the reference atlas/reference, see the messages." in lines


def test_the_methods_text_of_new_cells_describes_their_mapping_only(mapped: ReportData, data: ReportData) -> None:
    text = methods_text(mapped).data
    assert "New cells were placed among those of a reference" in text and "nearest reference cells" in text
    assert "variable genes" not in text and "variable genes" in methods_text(data).data


def test_embeddings_that_can_not_be_made_are_not_called_complete(data: ReportData) -> None:
    row = data.plan.iloc[[0]].assign(embedding="scgpt.raw.0", method="scgpt", status="not_applicable")
    line = overview.verdict_line(replace(data, plan=pd.concat([data.plan, row], ignore_index=True)))
    follows = "below; what follows from them is missing too"
    assert line.endswith(f"{follows}, 1 more can't be made here, and all others are complete.")
    assert overview.verdict_line(data).endswith(f"{follows}, and all others are complete.")


def test_a_failed_step_about_a_data_set_is_said_where_every_embedding_is_complete(data: ReportData) -> None:
    clean = data.with_tables(status=data.status.assign(status="ok"))
    said = overview.verdict_line(replace(clean, verdict={"n_failed": 1}))
    assert said.endswith("gave their results. 1 step about a whole data set failed: see the messages.")
    assert overview.verdict_line(replace(clean, verdict={"n_failed": 0})).endswith("gave their results.")


@pytest.mark.parametrize(
    ("name", "function", "said", "instead"),
    [
        ("markers", marker_sections, "No label lost", "The markers of no label could be judged."),
        ("overcorrection", overcorrection_sections, "No sign of over-correction", "No test of over-correction applies"),
        ("balanced", balanced_sections, "On balanced cells no mean", "No batch metric can be computed on balanced"),
    ],
)
def test_what_was_not_tested_is_not_called_good(data: ReportData, name: str, function, said: str, instead: str) -> None:
    quiet = replace(data, messages=[])
    known = quiet.tables[name]
    assert said in function(quiet, "pbmc")[0].data
    blank = {"balanced": float("nan"), "change": float("nan")} if name == "balanced" else {}
    undefined = quiet.with_tables(**{name: known.assign(status="not_applicable", reason="few_cells", **blank)})
    section = function(undefined, "pbmc")[0].data
    assert instead in section and said not in section


def test_labels_of_few_cells_are_not_called_recognised() -> None:
    key = ("pca", "raw")
    row = type("Row", (), {"key": key, "group": "ranked"})()
    grid = Grid("held_out_recall", "Recall", "bio", {"rare": 4}, {("rare", key): 0.9})
    assert sentences(grid, [row]) == []
    assert sentences(replace(grid, cells={"rare": 40}), [row])[0].startswith("Nearest neighbours recognise at least")


@pytest.mark.parametrize(
    "function", [residual_sections, cluster_sections, marker_sections, rare_sections, balanced_sections]
)
def test_sections_of_the_diagnosis_say_of_how_many_embeddings_they_are(data: ReportData, function) -> None:
    n, of = n_diagnosed(data, "pbmc")
    assert n == 2 < of
    said = f"{n} of {of} embeddings were diagnosed</b>"
    assert said in function(data, "pbmc")[0].description
    diagnosed = data.scores["embedding"].isin(["pca.raw.0", "harmony.raw.0"])
    all_of_them = data.with_tables(scores=data.scores[diagnosed])
    assert "were diagnosed" not in function(all_of_them, "pbmc")[0].description


def test_a_row_without_warnings_may_not_have_been_diagnosed_and_the_overview_says_so(data: ReportData) -> None:
    n, of = n_diagnosed(data, "pbmc")
    assert f"come from a diagnosis of {n} of {of} embeddings" in figure_sections(data, "pbmc")[0].description
    names = ("residual", "clusters", "markers", "rare", "overcorrection", "balanced")
    none = data.with_tables(**{name: data.tables[name].iloc[:0] for name in names})
    assert "diagnosis" not in figure_sections(none, "pbmc")[0].description


def test_over_correction_of_an_embedding_that_was_not_diagnosed_is_told(data: ReportData) -> None:
    told = message("W-OVER-01", title="scVI", n_signs=1, shown="mixing", dataset="pbmc", method="scvi")
    section = overcorrection_sections(replace(data, messages=[told]), "pbmc")[0]
    assert "scVI shows 1 sign of over-correction" in section.data and "No sign" not in section.data
    assert "tables/scores.tsv" in told["advice"]  # the sign by scores is in no other table


def test_a_message_about_a_corrected_embedding_does_not_blame_the_uncorrected_one(data: ReportData) -> None:
    about = {"dataset": "pbmc", "method": "harmony", "embedding": "harmony.center_l2.0", "seed": 0}
    told = message("W-CL-02", cluster="1", n_cells=163, label="B", purity=0.56, tissues="", threshold=0.6, **about)
    changed = replace(data, messages=[told])
    assert "<b>pbmc, Harmony + center_l2, seed 0</b>" in message_sections(changed)[0].data
    card = card_sections(changed, "pbmc")[0].data
    assert "<li>Harmony + center_l2: W-CL-02 (seed 0): Cluster 1" in card


def test_no_rare_label_lost_is_said_with_its_limits(data: ReportData) -> None:
    section = rare_sections(replace(data, messages=[]), "pbmc")[0]
    assert "No rare label was lost in 2 diagnosed embeddings: no F1 and no share" in section.data
    assert "fewer than 200 cells or less than 1.0% of all" in section.description


def test_the_weakest_label_of_the_verdict_is_named_with_its_ties(data: ReportData) -> None:
    labels = (data.scores["metric"] == "bras") & (data.scores["group"] != "all")
    scores = data.scores.assign(value=data.scores["value"].mask(labels, 0.9))
    text = " ".join(overview.verdict_sections(data.with_tables(scores=scores))[0].data.split())
    assert "other labels can't be told from it)" in text or "other label can't be told from it)" in text


def test_harmony_s_own_gain_is_not_denied() -> None:
    row = {"family": "linear", "bio": 0.6, "batch": 0.6, "total_sd": 0.0}
    row |= {"method": "harmony", "title": "Harmony"}
    table = pd.DataFrame([row | {"correction": c, "total": t} for c, t in (("raw", 0.77), ("center_l2", 0.78))])
    columns = {f"{c}_{when}": v for c in ("total", "bio", "batch") for when, v in (("raw", 0.77), ("centred", 0.80))}
    both = pd.DataFrame([{"method": "harmony", "title": "Harmony", **columns}])
    said = slope_section("d", table, both).description
    assert "passes" not in said and "rises for 1 of 1, by more than 0.02 for 1." in said
    other = both.assign(method="pca", title="PCA", total_centred=0.785)
    said = slope_section("d", table, pd.concat([both, other])).description
    assert "Of 1 other centred method, none passes Harmony's raw total by more than 0.02." in said


def test_ranks_without_a_metric_are_by_the_total_that_orders_the_report() -> None:
    metrics = [{"name": n, "group": g, "title": n} for n, g in (("m", "bio"), ("n", "bio"), ("o", "batch"))]
    table = pd.DataFrame({"m": [0.8, 0.5], "n": [0.8, 0.5], "o": [0.5, 0.9], "title": ["keeps", "mixes"]})
    table = table.assign(correction="raw", rank_total=0.7)
    for weight, first in ((0.9, "keeps"), (0.1, "mixes")):
        (section,) = rank_section(table, metrics, weight)
        body = section.data.split("<tbody>")[1]
        assert body.index(first) == min(body.index("keeps"), body.index("mixes"))
        assert f"Rank by total ({weight:g}/{1 - weight:g})" in section.description


def test_one_control_is_no_range(data: ReportData) -> None:
    table = summarise(data, "pbmc")
    alone = table[~table["is_control"] | (table["method"] == "random")]
    assert scale(alone).startswith("Scale: bio of the control Random noise (control) is ")
    assert scale(table).startswith("Scale: bio of the controls runs from ")


def test_embeddings_of_a_sweep_are_in_the_first_line(data: ReportData) -> None:
    planned = data.status.drop_duplicates(["dataset", "embedding"])
    points = len(planned) - len(data.plan)
    assert points > 0 and f", and {points} embeddings of a sweep; metrics profile" in overview.describe_run(data)


def test_one_cell_is_no_plural() -> None:
    rows = {"mapping": "pca", "group_kind": "label", "group": "HSC", "n_cells": 1, "status": "ok", "reason": ""}
    table = pd.DataFrame([rows | {"quantity": "f1", "value": 0.5}])
    assert query.sentences(table) == ["PCA projection: label transferred worst (F1): HSC (0.50, 1 cell)."]


def test_a_biological_batch_has_no_totals_to_colour_and_no_others_to_stand_below(data: ReportData) -> None:
    text = figure_sections(data, "ifnb")[0].description
    assert "no total" in text and "light blue" not in text and "below the others" not in text
    assert "light blue totals" in figure_sections(data, "pbmc")[0].description


def test_a_batch_is_not_said_to_be_confounded_with_itself() -> None:
    entry = {"column": "donor", "key": "donor", "relation": "one_to_one", "cramers_v": 1.0}
    assert confounding_sentences([entry], "donor") == [
        "The batch is the donor itself: what differs between donors is removed with it."
    ]
    assert confounding_sentences([entry], "lane")[0].startswith("Can't be told apart from the batch: donor (donor).")


def test_numbers_of_batches_are_whole() -> None:
    row = {"part": "balance", "batch_key": "b", "label": "B", "quantity": "n_batches", "value": 3.0, "threshold": None}
    assert "<td>3</td>" in balance_table(pd.DataFrame([row]))


def test_a_code_with_warnings_and_notes_is_listed_once(data: ReportData) -> None:
    about = {"dataset": "pbmc", "keys": "", "metrics": "'kBET'", "reason": "r", "state": "not defined"}
    told = [message("W-MET-02", **about), message("W-MET-02/labels", **about)]
    assert "(W-MET-02): what may mislead you" in message_sections(replace(data, messages=told))[0].data


def test_totals_across_data_sets_are_those_of_the_overview(data: ReportData) -> None:
    known = summarise(data, "pbmc").set_index("title")["rank_total"]
    found = ranked_tables(data)["pbmc"].set_index("title")["rank_total"].dropna()
    assert len(found) > 3
    pd.testing.assert_series_equal(found, known.reindex(found.index))


def test_the_verdict_says_where_its_totals_are_on_other_cells_than_the_overview(data: ReportData) -> None:
    said = "on the 1,200 cells that all ranked embeddings have"
    assert said in verdict(data, "pbmc", summarise(data, "pbmc"))[0]
    same = data.with_tables(scores_common=data.scores_common.iloc[:0])
    assert "all ranked embeddings have" not in verdict(same, "pbmc", summarise(same, "pbmc"))[0]


def test_a_choice_of_data_set_leaves_the_tabs_as_they_are(tmp_path: Path) -> None:
    """With two data sets the buttons of tabs were marked as not pressed, so no tab looked chosen."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    panels = "".join(f"<div class='scfm-panel' data-title='{t}'>{t}</div>" for t in ("one", "two"))
    chapters = "".join(
        f"<div class='scfm-dataset' data-dataset='{d}'><div class='scfm-tabs'>{panels}</div></div>" for d in "ab"
    )
    script = (THEME / "scfm.js").read_text()
    page = tmp_path / "page.html"
    page.write_text(f"<body><div class='scfm-chapter'>{chapters}</div><script>{script}</script></body>")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split("<script>")[0]
    pressed = re.findall(r'aria-pressed="true"[^>]*>(\w+)<', dom)
    assert sorted(pressed) == ["a", "one", "one"]
