"""What the report says, section by section."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers_report import ASSETS, collected, write_plot, write_run
from scfm.errors import ScfmError
from scfm.io.tables import read_json
from scfm.registries.messages import message
from scfm.report.build import build_modules
from scfm.report.page.html import colour, esc, heat_table, tabs
from scfm.report.page.mqc import Module, Section, slug, write_modules
from scfm.report.plots.scatter import Point, scatter_svg
from scfm.report.sections import overview
from scfm.report.sections.guide import methods_text, metric_guide
from scfm.report.sections.pictures import choose_plots, shrink, training_curves, training_sections
from scfm.report.sections.scores import metric_tip
from scfm.report.tables.collect import collect_results
from scfm.report.tables.names import Names
from scfm.report.view.data import load_report_data, read_citations
from scfm.report.view.summary import pareto_front, summarise, total_columns


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The report data of a synthetic run."""
    root = tmp_path_factory.mktemp("report")
    return collected(write_run(root / "run"), root / "tables")


@pytest.fixture(scope="module")
def modules(data):
    """All chapters by key."""
    return {m.key: m for m in build_modules(data)}


def text_of(section: Section) -> str:
    """Return an HTML section without its tags."""
    return re.sub(r"<[^>]+>", "", section.data)


# ---------------------------------------------------------------- names and order


def test_titles_come_from_the_registry_and_controls_are_marked(data):
    assert data.names.method("harmony") == "Harmony"
    assert data.names.method("harmony", "center_l2") == "Harmony + center_l2"
    assert data.names.method("random") == "Random noise (control)"
    assert data.names.method("mymodel") == "mymodel"
    assert data.names.embedding("scvi", "raw", 1, seeds=2) == "scVI, seed 1"


def test_two_methods_with_one_title_keep_their_names():
    methods = pd.DataFrame({"name": ["a", "b"], "title": ["Same", "Same"], "reference": ""})
    plan = pd.DataFrame({"method": ["a", "b"], "is_control": False})
    names = Names.of(methods, pd.DataFrame({"name": [], "title": []}), plan)
    assert (names.method("a"), names.method("b")) == ("a", "b")


def test_summary_has_every_planned_method_best_total_first_controls_last(data):
    table = summarise(data, "pbmc")
    planned = data.plan[data.plan["dataset"] == "pbmc"].drop_duplicates(["method", "correction"])
    assert len(table) == len(planned) and table["title"].is_unique
    first = table["is_control"].argmax()
    assert table["is_control"].iloc[first:].all() and not table["is_control"].iloc[:first].any()
    assert table["total"].iloc[:first].dropna().is_monotonic_decreasing
    assert table["total"].iloc[:first].isna().to_numpy().tolist() == [False] * (first - 1) + [True]
    assert table.loc[table["title"] == "mymodel", "outcome"].item() == "failed: score"
    assert not table.loc[table["is_control"], "front"].any() and table["front"].any()


def test_summary_is_the_mean_over_seeds_of_the_published_totals(data):
    table = summarise(data, "pbmc").set_index("title")
    rows = data.totals.query(
        "dataset == 'pbmc' and method == 'scvi' and correction == 'raw' and scaling == 'raw' and bio_weight == 0.6"
    )
    assert len(rows) == 2
    assert table.loc["scVI", "total"] == pytest.approx(rows["total"].mean())
    assert table.loc["scVI", "total_sd"] == pytest.approx(rows["total"].std(ddof=1))
    assert np.isnan(table.loc["Harmony", "total_sd"])
    for column, (scaling, weight) in {"total_raw_0.5": ("raw", 0.5), "total_scaled_0.6": ("controls", 0.6)}.items():
        rows = data.totals.query(
            f"dataset == 'pbmc' and embedding == 'harmony.raw.0' and scaling == '{scaling}' and bio_weight == {weight}"
        )
        assert table.loc["Harmony", column] == pytest.approx(rows["total"].item())
    assert list(total_columns(data.totals).values()) == [
        "Total 0.6/0.4",
        "Total 0.5/0.5",
        "Scaled 0.6/0.4",
        "Scaled 0.5/0.5",
    ]


def test_pareto_front_of_known_points():
    bio = pd.Series([0.9, 0.5, 0.5, 0.7, 0.6, np.nan])
    batch = pd.Series([0.1, 0.9, 0.9, 0.5, 0.5, 1.0])
    assert pareto_front(bio, batch).tolist() == [True, True, True, True, False, False]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_pareto_front_by_definition(points):
    front = pareto_front(pd.Series([float(p[0]) for p in points]), pd.Series([float(p[1]) for p in points]))
    for p, on_front in zip(points, front, strict=True):
        beaten = any(q[0] >= p[0] and q[1] >= p[1] and q != p for q in points)
        assert on_front == (not beaten)


# ---------------------------------------------------------------- the answer in words


def test_the_answer_names_size_baseline_scale_and_a_biological_batch(modules):
    text = text_of(modules["overview"].sections[1])
    assert (
        "1,200 cells, 1,767 genes, 3 batches by batch (declared technical), 4 labels by cell_type, 4 cells dropped"
        " from scoring." in text
    )
    assert "Against uncorrected PCA" in text and "Best trade-offs" in text and "Scale: bio runs from" in text
    assert text.count("The batch is declared biological") == 1
    ifnb = text[text.index("ifnb") : text.index("pbmc")]
    assert "batch_is_biology" in ifnb and "Best trade-offs" not in ifnb and "By total" not in ifnb


def test_failures_stand_first_with_their_reason_escaped(modules):
    first = modules["overview"].sections[0]
    assert first.key == "messages"
    assert "planned embeddings lack results: ComBat (ifnb), mymodel (pbmc)." in text_of(first)
    assert "two cells per batch &amp; gene; batch &#x27;ctrl&#x27; &lt;has&gt; a gene" in first.data
    assert "<has>" not in first.data


def test_a_thousand_messages_are_a_few_lines(data):
    many = [message("W-BAL-01", reasons=f"Text {i}", absent="", dataset=f"d{i}") for i in range(1000)]
    content = overview.messages_html(many, data)
    shown = re.sub(r"<ul>.*?</ul>", "", content)
    assert "1000 warnings" in content and content.count("<details") == 2 and len(shown) < 2500
    assert content.count("<li>") == 1000


def test_a_clean_run_says_so(data):
    clean = data.status.assign(status="ok")
    copy = replace(data.with_tables(status=clean), verdict={"n_failed": 0})
    assert re.search(r"All \d+ planned embeddings gave their results", overview.messages_html([], copy))


# ---------------------------------------------------------------- sections


def test_every_data_set_has_every_section(modules):
    for name in ("ifnb", "pbmc"):
        maps = ["centroid_maps"] if name == "pbmc" else []
        # the batch of ifnb is declared biological: it has no total
        ranks, changes = (["ranks"], ["slopes", "changes"]) if name == "pbmc" else ([], [])
        assert [s.key for s in modules[f"data_{name}"].sections] == [
            "summary",
            "totals",
            "tradeoff",
            "metrics",
            "labels",
            "circles",
            *ranks,
            "probe_label",
            "probe_batch",
            "probe_table",
            "baselines",
            *changes,
            "probe_centred",
            "alignment",
            *maps,
            "umaps",
            "training",
        ]
    # one of the two has a biological batch: it counts in no total and no mean rank, and one alone is not compared
    assert [s.key for s in modules["across"].sections] == ["probing"]


def test_failed_method_is_a_row_of_the_summary_without_numbers(modules):
    rows = modules["data_ifnb"].sections[0].data
    assert rows["ComBat"]["outcome"] == "failed: embed" and "bio" not in rows["ComBat"]
    assert rows["ComBat + center_l2"]["outcome"] == "no scores"


def test_the_status_matrix_has_every_planned_embedding(data, modules):
    for section in modules["run"].sections[:2]:
        dataset = section.key.removeprefix("status_")
        for name in data.plan.loc[data.plan["dataset"] == dataset, "embedding"]:
            assert name in section.data
    assert "failed" in modules["run"].sections[0].data and "no_result" in modules["run"].sections[1].data


def test_a_metric_says_direction_range_and_what_it_misses(data, modules):
    row = data.metrics[data.metrics["name"] == "batch_kl"].to_dict("records")[0]
    tip = metric_tip(row)
    assert "lower is better, range 0-inf, not in the total" in tip and row["misses"] in tip
    heat = next(s for s in modules["data_pbmc"].sections if s.key == "metrics").data
    guide = metric_guide(data).data
    for m in data.metrics.itertuples():
        assert esc(m.misses) in heat and esc(m.misses) in guide, m.name
    assert "not defined: too_few_cells" in next(s for s in modules["data_ifnb"].sections if s.key == "metrics").data


def test_labels_show_where_a_metric_is_not_defined(modules):
    section = next(s for s in modules["data_pbmc"].sections if s.key == "labels")
    assert "HSC (50)" in section.data and "not defined: label_in_one_batch" in section.data
    assert section.data.index("BRAS") < section.data.index("Silhouette label")


def test_probes_stand_beside_their_baselines(modules):
    sections = {s.key: s for s in modules["data_pbmc"].sections}
    bars = sections["probe_label"].data[0]["Harmony"]
    assert set(bars) == {"kfold", "leave_one_batch_out", "majority", "permuted"} and bars["majority"] == 0.25
    assert set(sections["probe_batch"].data[0]["Harmony"]) == {"logistic", "knn", "majority", "permuted"}
    assert sections["probe_batch"].data[0]["Harmony"]["permuted"] == pytest.approx(1 / 3 + 0.01, abs=1e-4)
    row = sections["probe_table"].data["PCA"]
    assert "floor_label" in row
    assert row["batch_kfold_knn_p"] in {0.002, 0.4}
    assert "batch_kfold_logistic_p" not in row  # one permutation is no test
    names = [label["name"] for label in sections["probe_batch"].options["data_labels"]]
    assert names == ["AUROC", "Balanced accuracy"]


def test_galleries_win_over_single_pictures(data):
    pbmc, ifnb = choose_plots(data, "pbmc"), choose_plots(data, "ifnb")
    assert (
        len(pbmc) == data.plan["family"].nunique()
        and all("gallery" in p.name for p, _ in pbmc)
        and [t for _, t in pbmc][:2] == ["uncorrected", "linear"]
        and pbmc[-1][1] == "control"
    )
    assert ("Harmony + center_l2, by label" in [t for _, t in ifnb]) and not any("gallery" in p.name for p, _ in ifnb)


def test_pictures_shrink_into_their_budget(tmp_path):
    for i in range(3):
        write_plot(tmp_path / f"{'x' * (i + 1)}.png", 1800, 900)
    paths = sorted(tmp_path.glob("*.png"))
    large, small = shrink(paths, 10**9), shrink(paths, 60_000)
    assert sum(map(len, small)) < sum(map(len, large))
    from PIL import Image

    assert Image.open(io.BytesIO(large[0])).width == 1600 and Image.open(io.BytesIO(small[0])).width < 1600
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(ScfmError, match=r"broken\.png is not a picture that can be read"):
        shrink([tmp_path / "broken.png"], 100)


def test_training_curves_mark_the_epoch_with_the_best_validation(data):
    section = training_sections(data, "pbmc")[0]
    assert [d["name"] for d in section.options["data_labels"]] == ["scVI, seed 0", "scVI, seed 1"]
    history = pd.read_csv(data.histories[-1])
    best = history.loc[history["elbo_validation"].idxmin(), "epoch"]
    assert section.options["extra_series"][1][0]["pairs"][0][0] == best
    assert set(section.data[0]) == {"Training", "Validation"}


def test_training_without_validation_has_one_curve():
    assert set(training_curves(pd.DataFrame({"epoch": [0, 1], "elbo_train": [2.0, 1.0]}))) == {"Training"}
    assert training_curves(pd.DataFrame({"epoch": [0], "elbo_train": [np.nan]})) == {}


def test_methods_text_cites_what_ran_and_nothing_else(data):
    content = methods_text(data).data
    assert "Harmony" in content and "10.1038/s41592-019-0619-0" in content and "scfmbench 0.1.0" in content
    assert "drop_pc1" not in content and "Stuart" not in content  # neither ran
    without = data.status[data.status["method"] != "scanorama"]
    less = methods_text(data.with_tables(status=without, scores=data.scores[data.scores["metric"] != "kbet"])).data
    assert "Scanorama" in content and "Scanorama" not in less and "kBET" not in less
    assert re.findall(r"\[(\d+)", content)[0] == "1"


def test_every_reference_of_the_registries_has_a_citation(data):
    known = read_citations(ASSETS)["citations"]
    wanted = {
        d.strip() for r in [*data.methods["reference"], *data.metrics["reference"]] for d in r.split(",") if d.strip()
    }
    assert wanted <= set(known)


# ---------------------------------------------------------------- pieces


def test_text_from_data_is_escaped_in_tables_tabs_and_plots():
    evil = "<script>alert('x')</script>"
    pieces = [
        heat_table([evil], [evil], {(evil, evil): 0.5}, titles={(evil, evil): evil}, heads={evil: evil}, corner=evil),
        tabs("k", [(evil, "a"), (evil, "b")]),
        scatter_svg([Point(evil, 0.1, 0.2, "#000000", "method", True)], xlab=evil, ylab=evil, legend={evil: "#000000"}),
    ]
    for piece in pieces:
        assert "<script" not in piece and "&lt;script" in piece


def test_colours_run_from_light_to_dark_and_are_capped():
    light, dark = colour(0.0), colour(1.0)
    assert (light[1], dark[1]) == ("#1a1a1a", "#fff")
    assert colour(-3) == light and colour(7) == dark
    assert heat_table(["r"], ["c"], {("r", "c"): 1.0}, lower_better={"c"}).count(light[0]) == 1


def test_names_at_points_do_not_cover_each_other():
    points = [Point(f"method {i}", 0.5 + 0.001 * i, 0.5, "#000000", "method", False) for i in range(8)]
    svg = scatter_svg(points, xlab="x", ylab="y", legend={})
    spots = re.findall(r"<text x='([\d.]+)' y='([\d.]+)' text-anchor='(\w+)'>method", svg)
    assert len(spots) == 8 and len(set(spots)) == 8


def test_order_of_sections_is_given_to_multiqc(tmp_path):
    import yaml

    parts = [
        Module("b", "B", [Section("z", "Z", "html", "z"), Section("a", "A", "html", "a")], "d"),
        Module("a", "A", [Section("x", "X", "html", "x")], "d"),
        Module("e", "E", [], "d"),
    ]
    write_modules(parts, tmp_path, title="T")
    config = yaml.safe_load((tmp_path / "scfmbench_order.yml").read_text())
    order = {k: v["order"] for k, v in config["report_section_order"].items()}
    assert order["scfmbench_b"] > order["scfmbench_a"] and order["scfmbench_b_z"] < order["scfmbench_b_a"]
    assert "scfmbench_e" not in order and config["title"] == "T"
    assert json.loads((tmp_path / "scfmbench_b_z_mqc.json").read_text())["parent_description"] == "d"


def test_slug_is_an_identifier():
    assert slug("PBMC 3' v2/β") == "PBMC_3_v2"


def test_no_python_file_of_the_report_asks_for_something_from_elsewhere():
    for path in (Path(overview.__file__).parent).glob("*.py"):
        assert not re.search(r"(src|@import|url\()\s*=?\s*['\"]?https?:", path.read_text()), path.name


def test_a_run_that_left_nothing_still_has_a_report(tmp_path):
    run = write_run(tmp_path / "run", datasets=("pbmc",))
    (tmp_path / "empty").mkdir()
    collect_results(
        plan=run.plan,
        datasets=run.datasets,
        results=[tmp_path / "empty"],
        metrics_table=ASSETS / "metrics.tsv",
        methods_table=ASSETS / "methods.tsv",
        params=read_json(run.params),
        outdir=tmp_path / "tables",
    )
    bare = load_report_data(
        tables=tmp_path / "tables",
        plan=run.plan,
        assets=ASSETS,
        params=run.params,
        versions=None,
        plots=None,
        histories=None,
    )
    parts = {m.key: m for m in build_modules(bare)}
    assert parts["data_pbmc"].sections == [] and len(parts["overview"].sections) == 2
    first, second = parts["overview"].sections
    assert "The preparation of data set" in first.data and "E-RUN-02" in first.data
    assert "Its preparation left no result, so there is nothing to show." in second.data
    assert "failed" in parts["run"].sections[0].data


def test_the_first_weight_given_orders_the_summary():
    from scfm.report.view.summary import default_total, total_columns

    totals = pd.DataFrame(
        {
            "embedding": ["a", "a"],
            "scaling": ["raw", "raw"],
            "bio_weight": [0.6, 0.5],
            "bio": [0.9, 0.9],
            "batch": [0.1, 0.1],
            "total": [0.58, 0.5],
        }
    )
    assert default_total(totals)["bio_weight"].tolist() == [0.6]
    assert default_total(totals, {"total_weights": "0.5,0.6"})["bio_weight"].tolist() == [0.5]
    assert list(total_columns(totals, {"total_weights": "0.5,0.6"})) == ["total_raw_0.5", "total_raw_0.6"]
    assert default_total(totals, {"total_weights": 0.3})["bio_weight"].tolist() == [0.6]
