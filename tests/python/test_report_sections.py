"""What the report says, section by section."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers_report import ASSETS, read_report, write_run
from scfm.errors import ScfmError
from scfm.io.tables import read_json
from scfm.metrics.registry import load_metrics
from scfm.registries.messages import load_messages, message
from scfm.registries.methods import load_methods
from scfm.registries.sections import load_chapters, load_sections
from scfm.registries.tables import load_tables
from scfm.report.build import build_modules, section_function
from scfm.report.page.html import colour, number, signed
from scfm.report.page.links import file_of_message, linked
from scfm.report.page.mqc import Module, Section, slug, write_modules
from scfm.report.page.tables import CONTROL, Heat, heat_cell, heat_table, tabs
from scfm.report.plots.scatter import Plot, Point, draw_scatter
from scfm.report.sections import overview
from scfm.report.sections.guide import methods_text, metric_guide
from scfm.report.sections.messages import messages_html
from scfm.report.sections.residual import cluster_sections
from scfm.report.sections.scores import metric_tip
from scfm.report.tables.collect import collect_results
from scfm.report.tables.names import Names
from scfm.report.tables.sweep_rules import pareto_front
from scfm.report.view.data import load_report_data, read_citations
from scfm.report.view.summary import summarise, total_columns


@pytest.fixture(scope="module")
def data(collected_run):
    """The report data of a synthetic run."""
    return read_report(*collected_run)


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
    text = text_of(modules["verdict"].sections[0])
    assert "1,200 cells, 1,767 genes, 3 batches by batch, 4 labels by cell_type, 4 cells dropped from scoring." in text
    assert "batch, declared technical." in text
    assert (
        "Against uncorrected PCA" in text
        and "Best trade-offs" in text
        and "Scale: bio of the controls runs from" in text
    )
    assert text.count("The batch is declared biological") == 1
    ifnb = text[text.index("ifnb\n") :]
    assert "batch_is_biology" in ifnb and "Best trade-offs" not in ifnb and "By total" not in ifnb


def test_failures_come_first_with_their_reason_escaped(modules):
    first = modules["verdict"].sections[0]
    assert "planned embeddings lack results: ComBat (ifnb), mymodel (pbmc)." in text_of(first)
    assert "ComBat failed at embed</b>: ComBat needs at least two cells per batch &amp; gene" in first.data
    assert "batch &#39;ctrl&#39; &lt;has&gt; a gene" in first.data
    assert "<has>" not in first.data


def test_a_thousand_messages_are_a_few_lines(data):
    many = [message("W-BAL-01", reasons=f"Text {i}", absent="", dataset=f"d{i}") for i in range(1000)]
    content = messages_html(many, data)
    shown = re.sub(r"<ul>.*?</ul>", "", content)
    assert "<b>1000 warnings</b>" in content and content.count("<details") == 2 and len(shown) < 2500
    assert content.count("<li>") == 1000


def test_every_message_is_linked_to_the_table_with_its_values(data):
    content = messages_html([message("W-BAL-01", reasons="Sizes differ", absent="", dataset="pbmc")], data)
    assert '<a href="../tables/balanced.tsv">tables/balanced.tsv</a>' in content  # what the advice mentions
    assert '<a href="../tables/design.tsv">tables/design.tsv</a>' in content  # where its values are
    codes = {row.code for row in load_messages().values()}
    files = {code: file_of_message(code) for code in codes}
    assert set(files.values()) <= {"warnings.json", *(f"{name}.tsv" for name in load_tables())}
    known = ("W-RES-02", "W-CL-03", "W-RARE-01", "W-MRK-01", "W-OVER-01", "W-DE-01", "E-CONF-01")
    tables = ("residual", "clusters", "rare", "markers", "overcorrection", "de", "design")
    assert [files[code] for code in known] == [f"{name}.tsv" for name in tables]
    prefixes = {p for table in load_tables().values() for p in table.messages}
    assert all(any(c == p or c.startswith(f"{p}-") for c in codes) for p in prefixes)  # none that no message has
    assert "<script>" not in linked("<script> tables/none.tsv")


def test_where_no_donor_is_declared_no_cluster_can_be_called_one_of_a_donor(modules, data):
    assert "the samplesheet names no donor_key" in section_of(modules["fails"], "pbmc_clusters").data
    known = data.tables["clusters"].assign(donor="d1", donor_share=0.4, donor_share_of_label=0.3)
    (section,) = cluster_sections(data.with_tables(clusters=known), "pbmc")
    assert "Whether a cluster is of one donor" not in section.data and "Cluster" in section.data


def test_a_clean_run_says_so(data):
    clean = data.status.assign(status="ok")
    copy = replace(data.with_tables(status=clean), verdict={"n_failed": 0})
    assert re.search(r"All \d+ planned embeddings gave their results", overview.verdict_sections(copy)[0].data)
    assert "No warnings" in messages_html([], copy)


# ---------------------------------------------------------------- sections


def keys_of(module: Module, dataset: str) -> list[str]:
    """Return the keys of the sections of one data set in a chapter."""
    return [s.key.removeprefix(f"{dataset}_") for s in module.sections if s.dataset == dataset]


def section_of(module: Module, key: str) -> Section:
    return next(s for s in module.sections if s.key == key)


def test_chapters_are_in_the_order_of_the_registry(modules):
    assert list(modules) == list(load_chapters())
    assert [m.key for m in modules.values() if m.folded] == ["across", "cards", "provenance", "appendix"]


def test_every_data_set_has_every_section(modules):
    probes = ["probe_label", "probe_batch", "probe_table"]
    for name in ("ifnb", "pbmc"):
        # the batch of ifnb is declared biological: it has no total, no trade-off and no changes of totals
        has_total, maps = name == "pbmc", ["centroid_maps"] if name == "pbmc" else []
        assert keys_of(modules["tradeoff"], name) == (["tradeoff", "sweeps"] if has_total else [])
        assert keys_of(modules["trust"], name) == [
            "controls",
            "baselines",
            *(["common", "held_out", "seeds"] if has_total else []),
            "balanced",
            *(["ranks"] if has_total else []),
            "status",
        ]
        changes = ["slopes", "changes"] if has_total else []
        assert keys_of(modules["appendix"], name) == [
            "summary",
            "metrics",
            *(["held_out_metrics", "totals"] if has_total else []),
            *probes,
            *changes,
            "probe_centred",
            *maps,
            "umaps",
            "resources",
        ]
    # one of the two has a biological batch: it counts in no total and no mean rank, and one alone is not compared
    assert [s.key for s in modules["across"].sections] == ["probing"]


def test_data_sets_are_in_the_order_of_the_samplesheet(data, modules):
    assert data.dataset_names() == ["pbmc", "ifnb"]
    assert list(dict.fromkeys(s.dataset for s in modules["appendix"].sections)) == ["", "pbmc", "ifnb"]


def test_every_section_names_its_table_and_every_table_its_chapter(modules):
    shown = {(m.key, s.table) for m in modules.values() for s in m.sections if s.table}
    for table in load_tables().values():
        assert (table.chapter, table.name) in shown, table.name


def test_a_row_without_chapter_table_or_function_is_refused(tmp_path):
    for name in ("chapters.tsv", "sections.tsv", "tables.tsv"):
        (tmp_path / name).write_text((ASSETS / name).read_text())
    rows = load_sections(tmp_path)
    text = (tmp_path / "sections.tsv").read_text()
    with pytest.raises(ScfmError, match=r"sections.tsv: section '\w+' names no function: run.no_such"):
        section_function(replace(rows["status"], function="run.no_such"))
    for old, new, said in (
        ("\ttrust\t", "\tnowhere\t", "'nowhere' is no chapter"),
        ("\tstatus\n", "\tnothing\n", "'nothing' is no published table"),
    ):
        (tmp_path / "sections.tsv").write_text(text.replace(old, new))
        with pytest.raises(ScfmError, match=said):
            load_sections(tmp_path)


def test_every_section_function_is_in_the_registry():
    """A function ``*_sections`` of a data set or a run that no row names would never be shown."""
    used = {row.function for row in load_sections().values()}
    written = {
        f"{path.stem}.{name}"
        for path in Path(overview.__file__).parent.glob("*.py")
        for name in re.findall(r"^def ([a-z]\w*_sections)\(", path.read_text(), re.MULTILINE)
    }
    assert used == written


def test_failed_method_is_a_row_of_the_summary_without_numbers(modules):
    rows = re.findall(r"<tr[^>]*>.*?</tr>", section_of(modules["appendix"], "ifnb_summary").data, re.DOTALL)
    combat = next(r for r in rows if ">ComBat</th>" in r)
    assert "failed: embed" in combat and combat.count(">–<") == 4
    assert "no scores" in next(r for r in rows if ">ComBat + center_l2</th>" in r)


def test_controls_stay_last_and_are_marked_for_the_page_s_script(modules):
    for key in ("appendix/pbmc_summary", "appendix/pbmc_probe_table", "trust/pbmc_status"):
        chapter, name = key.split("/")
        classes = re.findall(r"<tr( class=\"[^\"]*\")?><th scope=\"row\">", section_of(modules[chapter], name).data)
        kinds = [CONTROL in c for c in classes]
        assert kinds == sorted(kinds) and 0 < sum(kinds) < len(kinds), key


def test_the_status_matrix_has_every_planned_embedding(data, modules):
    for dataset in ("pbmc", "ifnb"):
        section = section_of(modules["trust"], f"{dataset}_status")
        for name in data.plan.loc[data.plan["dataset"] == dataset, "embedding"]:
            assert name in section.data
    assert "no_result" in section_of(modules["trust"], "pbmc_status").data
    assert "ComBat needs at least two cells" in section_of(modules["trust"], "ifnb_status").data


def test_a_metric_has_direction_range_and_limitations(data, modules):
    row = data.metrics[data.metrics["name"] == "batch_kl"].to_dict("records")[0]
    tip = metric_tip(row)
    assert "lower is better, range 0-inf, not in the total" in tip and row["limitations"] in tip
    heat = html.unescape(section_of(modules["appendix"], "pbmc_metrics").data)
    guide = html.unescape(metric_guide(data).data)
    for m in data.metrics.itertuples():
        assert m.limitations in heat and m.limitations in guide, m.name
    assert "not defined: too_few_cells" in section_of(modules["appendix"], "ifnb_metrics").data


def test_labels_show_where_a_metric_is_not_defined(modules):
    section = section_of(modules["fails"], "pbmc_labels")
    assert "HSC (50)" in section.data and "not defined: label_in_one_batch" in section.data
    assert section.data.index("BRAS") < section.data.index("Silhouette label")


def test_probes_are_beside_their_baselines(modules):
    sections = {s.key.removeprefix("pbmc_"): s for s in modules["appendix"].sections if s.dataset == "pbmc"}
    bars = sections["probe_label"].data[0]["Harmony"]
    assert set(bars) == {"kfold", "leave_one_batch_out", "majority", "permuted"} and bars["majority"] == 0.25
    assert set(sections["probe_batch"].data[0]["Harmony"]) == {"logistic", "knn", "majority", "permuted"}
    assert sections["probe_batch"].data[0]["Harmony"]["permuted"] == pytest.approx(1 / 3 + 0.01, abs=1e-4)
    table = sections["probe_table"].data
    heads = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", table)
    assert "Batch (kNN, p)" in heads and "Batch (LR, p)" not in heads  # one permutation is no test
    row = re.search(r"<tr><th scope=\"row\">PCA</th>(.*?)</tr>", table, re.DOTALL)[1]
    values = re.findall(r"<td[^>]*>([^<]*)</td>", row)
    assert len(values) == len(heads) - 1 and values[heads.index("Batch (kNN, p)") - 1] in {"0.002", "0.400"}
    names = [label["name"] for label in sections["probe_batch"].options["data_labels"]]
    assert names == ["AUROC", "Balanced accuracy"]


def test_methods_text_cites_what_ran_and_nothing_else(data):
    content = methods_text(data).data
    assert "Harmony" in content and "10.1038/s41592-019-0619-0" in content and "scfmbench 0.1.0" in content
    assert "drop_pc1" not in content and "Stuart" not in content  # neither ran
    without = data.status[data.status["method"] != "scanorama"]
    less = methods_text(data.with_tables(status=without, scores=data.scores[data.scores["metric"] != "kbet"])).data
    assert "Scanorama" in content and "Scanorama" not in less and "kBET" not in less
    assert re.findall(r"\[(\d+)", content)[0] == "1"


def test_methods_text_names_the_packages_of_comparisons_and_clusters_that_ran(data):
    of = {
        "de": ({"analysis": "pseudobulk", "status": "ok"}, ["PyDESeq2", "btad547", "s13059-014-0550-8"]),
        "orthogonal": ({"evidence": "gene_sets", "status": "ok"}, ["decoupler", "vbac016"]),
        "clusters": ({"doublet": 1.5}, ["Scrublet", "j.cels.2018.11.005"]),
    }
    none = data.with_tables(**{table: data.tables[table].iloc[:0] for table in of})
    plain = methods_text(none).data
    for table, (row, words) in of.items():
        one = pd.DataFrame([row]).reindex(columns=data.tables[table].columns)
        text = methods_text(none.with_tables(**{table: one})).data
        assert all(word in text and word not in plain for word in words), table


def test_the_page_of_citations_names_every_method_metric_and_package():
    page = (ASSETS.parent / "CITATIONS.md").read_text(encoding="utf-8")
    methods, metrics = load_methods(ASSETS / "methods.tsv"), load_metrics(ASSETS / "metrics.tsv")
    wanted = {doi.strip() for row in [*methods.values(), *metrics.values()] for doi in row.reference.split(",")}
    packages = {doi for dois in read_citations(ASSETS)["citation_uses"].values() for doi in dois}
    assert [doi for doi in sorted((wanted | packages) - {""}) if doi not in page] == []


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
        heat_table([evil], [evil], {(evil, evil): 0.5}, Heat(evil, tips={(evil, evil): evil}, heads={evil: evil})),
        tabs([(evil, evil), (evil, "b")]),
        draw_scatter([Point(evil, 0.1, 0.2, "#000000")], Plot("k", evil, evil, {evil: "#000000"}, [evil])),
    ]
    for piece in pieces:
        assert "<script" not in piece and "&lt;script" in piece


def test_colours_run_from_light_to_dark_and_are_capped():
    light, dark = colour(0.0), colour(1.0)
    assert (light[1], dark[1]) == ("#000", "#fff")
    assert colour(-3) == light and colour(7) == dark
    assert heat_table(["r"], ["c"], {("r", "c"): 1.0}, Heat(lower_better={"c"})).count(light[0]) == 1


@pytest.mark.parametrize("value", [-0.004, np.float64(-1e-9), np.float32(-0.0), 0, 0.0049])
def test_what_rounds_to_zero_has_no_sign(value):
    assert (number(value), heat_cell(value).text, signed(value)) == ("0.00",) * 3


def test_numbers_below_zero_keep_their_sign():
    assert (number(-1234.5), heat_cell(-0.06).text, signed(-0.006)) == ("-1,234.50", "-0.06", "-0.01")


def test_order_of_sections_is_given_to_multiqc(tmp_path):
    import yaml

    parts = [
        Module("b", "B", [Section("z", "Z", "html", "z"), Section("a", "A", "html", "a")], "d"),
        Module("a", "A", [Section("x", "X", "html", "x")], "d"),
        Module("e", "E", [], "d"),
    ]
    write_modules(parts, tmp_path, title="T <b>")
    config = yaml.safe_load((tmp_path / "scfmbench_order.yml").read_text())
    order = {k: v["order"] for k, v in config["report_section_order"].items()}
    assert order["scfmbench_b"] > order["scfmbench_a"] and order["scfmbench_b_z"] < order["scfmbench_b_a"]
    assert "scfmbench_e" not in order and config["title"] == "T &lt;b&gt;"
    assert json.loads((tmp_path / "scfmbench_b_z_mqc.json").read_text())["parent_description"] == "d"


def test_slug_is_an_identifier():
    assert slug("PBMC 3' v2/β") == "PBMC_3_v2"


def test_no_file_of_the_report_asks_for_something_from_elsewhere():
    root = Path(overview.__file__).parents[1]
    for path in [*root.rglob("*.py"), *root.rglob("*.j2"), *root.rglob("*.html"), *root.rglob("*.js")]:
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
    assert [key for key, module in parts.items() if module.sections] == [
        "verdict",
        "tradeoff",
        "cards",
        "trust",
        "provenance",
        "appendix",
    ]
    first, second = parts["verdict"].sections
    assert "Its preparation left no result, so there is nothing to show." in first.data
    assert "The preparation of data set" in second.data and "E-RUN-02" in second.data
    assert "failed" in parts["trust"].sections[0].data


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
