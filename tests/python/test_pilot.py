"""``--pilot``: three samples of every data set, drawn with a floor per stratum, and the cost of the whole predicted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers_data import check_one, defaults, make_adata, make_counts
from scfm.planning.pilot import with_pilots
from scfm.preparation.counts import HeldCounts
from scfm.preparation.filters import filter_data
from scfm.preparation.pilot import STRATA, draw_cells, quotas
from scfm.registries.schemas import Schemas
from scfm.report.sections.cost import cost_sections
from scfm.report.tables.cost import TOLERANCES, build_cost, cost_messages, fit_cost
from scfm.report.tables.names import Names

ROW = {"dataset": "d", "h5ad": "d.h5ad", "batch_key": "batch", "label_key": "cell_type"}


def cells(n: int = 1000) -> pd.DataFrame:
    """A table of cells with a stratum of 7 and one of 3 cells, whose labels are missing."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "cell_id": [f"c{i:05}" for i in range(n)],
            "batch": rng.choice(["a", "b"], n, p=[0.8, 0.2]),
            "label": rng.choice(["T", "B"], n).astype(object),
            "tissue": None,
        }
    )
    table.loc[:6, ["batch", "label"]] = ["a", "rare"]
    table.loc[7:9, ["batch", "label"]] = ["b", None]
    return table


def test_every_stratum_gives_its_floor_and_the_rest_is_in_proportion():
    table = cells()
    drawn = table[draw_cells(table, 200, floor=20, seed=0)]
    sizes = table.groupby(list(STRATA), dropna=False).size()
    found = drawn.groupby(list(STRATA), dropna=False).size()
    assert len(drawn) == 200
    assert (found >= np.minimum(sizes, 20)).all()
    large = sizes[sizes > 20].index
    share = (found[large] - 20) / (sizes[large] - 20)
    assert share.max() - share.min() < 0.02


@pytest.mark.parametrize(("sizes", "n", "floor"), [([5, 1000], 10, 50), ([3, 3, 3], 7, 0), ([40] * 30, 60, 50)])
def test_quotas_sum_to_the_pilot_whatever_the_floor(sizes, n, floor):
    found = quotas(np.array(sizes), n, floor)
    assert found.sum() == n
    assert (found <= sizes).all()
    assert (found >= 0).all()


def test_a_smaller_pilot_lies_in_a_larger_one_and_the_seed_decides():
    table = cells()
    small, large = (draw_cells(table, n, floor=5, seed=0) for n in (100, 400))
    assert (small & ~large).sum() == 0
    assert (small != draw_cells(table, 100, floor=5, seed=1)).any()
    assert draw_cells(table, 1000, floor=5, seed=0).all()


def test_the_plan_has_three_data_sets_of_the_sizes_and_no_imported_embedding(tmp_path):
    data = make_adata(make_counts(200))
    data.obsm["X_mine"] = np.zeros((200, 3))
    outcome = check_one(
        tmp_path,
        data,
        row={"embeddings": "mine=obsm:X_mine"},
        pilot=120,
        methods="pca",
        controls="none",
        corrections="l2",
    )
    assert outcome.errors == []
    sizes = {
        d["dataset"].split("_pilot_")[1]: (d["n_cells"], d["pilot_cells"], d["full_cells"]) for d in outcome.datasets
    }
    assert sizes == {"30": (30, 30, 200), "60": (60, 60, 200), "120": (120, 120, 200)}
    assert {r["method"] for r in outcome.plan} == {"pca"}
    assert len(outcome.plan) == 6
    planned = {r["dataset"] for r in outcome.plan}
    assert {w["dataset"] for w in outcome.warnings} <= planned


def test_a_data_set_no_larger_than_its_pilot_is_an_error(tmp_path):
    (error,) = check_one(tmp_path, make_adata(), pilot=60).errors
    assert "--pilot is 60, and the data set has 60 cells" in error
    assert "run the whole data set without --pilot" in error


def test_cells_that_are_not_drawn_are_listed():
    data = make_adata(make_counts(200))
    row = with_pilots(ROW, {"n_cells": 200}, {"pilot": 100})[1][0]
    kept = filter_data(HeldCounts(data.X.tocsr()), data.obs, row, defaults(pilot=100))
    assert len(kept.table) == kept.counts.shape[0] == 50
    gone = kept.dropped[kept.dropped["reason"] == "not_in_pilot"]
    assert len(gone) == 150
    assert set(gone["cell_id"]) | set(kept.table["cell_id"]) == set(data.obs_names)


@pytest.mark.parametrize(
    ("start", "factor", "exponent"), [(5, 0.01, 1.0), (0, 1e-5, 1.6), (300, 0.02, 1.0), (2, 1e-7, 2.0)]
)
def test_planted_costs_are_predicted(start, factor, exponent):
    sizes = np.array([5_000, 10_000, 20_000])
    fit = fit_cost(sizes, start + factor * sizes**exponent)
    assert fit.at(50_000) == pytest.approx(start + factor * 50_000**exponent, rel=0.1)


def test_noise_of_five_percent_does_not_bend_a_line():
    sizes = np.array([5_000, 10_000, 20_000])
    fit = fit_cost(sizes, (10 + 0.01 * sizes) * [1.05, 0.95, 1.05])
    assert fit.exponent == 1
    assert fit.at(50_000) == pytest.approx(510, rel=0.1)


def test_memory_that_flattens_is_a_curve_and_one_that_steepens_a_little_is_a_line():
    """Peak memory of SCORE_EMBEDDING in the pilots of benchmarks/pilot.py, whose full run took 829 and 901 MiB."""
    sizes, tolerance = [2_500, 5_000, 10_000], TOLERANCES["memory_mb"]
    flattens = fit_cost(sizes, [367.1, 459.6, 539.1], tolerance=tolerance)
    assert flattens.exponent < 1 and flattens.at(50_000) == pytest.approx(829, rel=0.3)
    steepens = fit_cost(sizes, [451.7, 467.2, 580.8], tolerance=tolerance)
    assert steepens.exponent == 1 and steepens.at(50_000) == pytest.approx(901, rel=0.5)


def measured() -> tuple[SimpleNamespace, pd.DataFrame]:
    """What a run with pilots of 100, 200 and 400 of 1,000 cells, and 500 that the filters drop, leaves; PCA takes 0.1 s
    and 1 MiB a cell.
    """
    pilots = [
        {"dataset": f"d_pilot_{n}", "pilot_of": "d", "pilot_cells": n, "full_cells": 1500} for n in (100, 200, 400)
    ]
    plan, rows = [], []
    for pilot in pilots:
        n, name = pilot["pilot_cells"], pilot["dataset"]
        base = {"dataset": name, "import_seconds": 2.0, "source": "status"}
        rows.append(base | {"embedding": "", "step": "prepare", "seconds": 2 + n / 100, "peak_rss_mb": 300.0})
        for seed in (0, 1):
            plan.append({"dataset": name, "embedding": f"pca.raw.{seed}", "method": "pca", "correction": "raw"})
            made = {"embedding": f"pca.raw.{seed}", "step": "embed", "seconds": n / 10 + seed, "source": "sidecar"}
            rows.append(base | made | {"peak_rss_mb": float(n)})
            for step in ("neighbors", "score"):
                rows.append(base | {"embedding": f"pca.raw.{seed}", "step": step, "seconds": 5.0, "peak_rss_mb": 250.0})
    found = SimpleNamespace(
        datasets=pilots, plan=pd.DataFrame(plan), facts={
            p["dataset"]: {"n_cells": p["pilot_cells"], "dropped": {"not_in_pilot": 1000 - p["pilot_cells"]}}
            for p in pilots
        },
        schemas=Schemas(),
    )  # fmt: skip
    return found, pd.DataFrame(rows)


def test_the_table_has_measured_and_predicted_rows_within_the_limits():
    found, resources = measured()
    params = {"max_memory": "900.MB", "max_time": "1h"}
    cost = build_cost(found, resources, params)
    Schemas().check(cost, "cost")
    making = cost[(cost["method"] == "pca") & (cost["part"] == "making")].set_index(["quantity", "kind", "n_cells"])
    assert making.loc[("seconds", "measured", 400), "value"] == 40.5
    assert making.loc[("seconds", "predicted", 1000), "value"] == pytest.approx(100.5, rel=0.01)
    assert making.loc[("memory_mb", "predicted", 1000), "fits"] == False  # noqa: E712 - not None
    scoring = cost[(cost["part"] == "scoring") & (cost["quantity"] == "seconds")]
    assert scoring["value"].tolist() == pytest.approx([6.0] * 4)  # imports are taken off
    (told,) = cost_messages(found, cost, Names(methods={"pca": "PCA"}), params)
    assert told["dataset"] == "d_pilot_400"
    assert (
        "the pilot of 400 cells took 46.5 s and 0.4 GB. Predicted for 1,000 cells: 1.8 min, 1.0 GB: exceeds"
        in told["text"]
    )
    assert "exceeds --max_memory (900.MB)." in told["text"]


def test_a_pilot_that_failed_leaves_no_prediction_but_its_reason():
    found, resources = measured()
    gone = (resources["dataset"] == "d_pilot_400") & (resources["step"] == "embed")
    cost = build_cost(found, resources[~gone], {})
    last = cost[(cost["part"] == "making") & (cost["kind"] == "predicted")]
    assert set(last["reason"]) == {"measured at 2 of 3 sizes: too few to predict"}
    assert last["value"].isna().all()


def test_the_report_shows_both_and_says_what_the_scores_are_about():
    found, resources = measured()
    cost = build_cost(found, resources, {"max_memory": "900.MB"})
    data = SimpleNamespace(names=Names(methods={"pca": "PCA"}), tables={"cost": cost})
    (section,) = cost_sections(data)
    assert "3 pilots of &#39;d&#39;, up to 400 of 1,000 cells" in section.data
    assert "d: PCA making" in section.data
    assert section.data.index("d: preparation") < section.data.index("d: PCA making")
    assert cost_sections(SimpleNamespace(tables={"cost": cost.iloc[:0]})) == []


def test_the_benchmark_compares_what_was_predicted_with_what_was_measured():
    """A value that only one run has is never within the factor."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("pilot", Path(__file__).parents[2] / "benchmarks" / "pilot.py")
    pilot = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pilot)
    keys = {"part": "making", "quantity": "seconds"}
    before = pd.DataFrame([keys | {"method": m, "predicted": v} for m, v in (("a", 10), ("b", 10), ("c", 10))])
    after = pd.DataFrame([keys | {"method": m, "measured": v} for m, v in (("a", 14), ("b", 16), ("d", 10))])
    table = pilot.compare(before, after, 1.5).set_index("method")
    assert table["within"].to_dict() == {"a": True, "b": False, "c": False, "d": False}


def test_the_preparation_of_a_data_set_is_in_resources():
    """Its status has no embedding; without its row no cost of the preparation can be predicted."""
    from scfm.report.tables.load import Collected
    from scfm.report.tables.resources import build_resources

    about = {"dataset": "d", "embedding": "", "step": "prepare", "seconds": 3.0, "peak_rss_mb": 200.0}
    found = Collected(plan=pd.DataFrame(), datasets=[], schemas=Schemas(), preparations={"d": about})
    (row,) = build_resources(found).to_dict("records")
    assert (row["task"], row["step"], row["seconds"], row["embedding"]) == ("prepare d", "prepare", 3.0, "")
