"""Every rule that gives a message, by a case made by hand."""

from __future__ import annotations

import pandas as pd

from helpers_report import plan_rows, sidecar_of, status_of
from scfm.registries.messages import message
from scfm.report.tables import checks
from scfm.report.tables.load import Collected
from scfm.report.tables.names import Names
from scfm.report.tables.status import build_status

NAMES = Names(
    methods={"harmony": "Harmony", "pca": "PCA", "scvi": "scVI"},
    metrics={"bras": "BRAS", "kbet": "kBET"},
    label_readers=frozenset({"center_label_balanced"}),
)
METRICS = pd.DataFrame(
    {
        "name": ["nmi", "bras", "kbet", "asw"],
        "title": ["NMI", "BRAS", "kBET", "ASW"],
        "group": ["bio", "batch", "batch", "batch"],
        "in_total": [True, True, True, False],
        "higher_is_better": True,
    }
)


def scores(
    values: dict[str, dict[str, float | None]], *, group: str = "all", family: str = "none", reason: str = "one_batch"
) -> pd.DataFrame:
    """Return scores of ``{method: {metric: value}}``; None is not applicable."""
    return pd.DataFrame(
        [
            {
                "dataset": "d",
                "embedding": f"{m}.raw.0",
                "method": m,
                "family": family,
                "correction": "raw",
                "seed": 0,
                "batch_key": "batch",
                "label_key": "cell_type",
                "metric": k,
                "group": group,
                "value": v,
                "status": "not_applicable" if v is None else "ok",
                "reason": reason if v is None else "",
                "higher_is_better": True,
            }
            for m, row in values.items()
            for k, v in row.items()
        ]
    )


def totals(values: dict[str, list[float]], family: str = "none") -> pd.DataFrame:
    """Return raw totals of ``{method: totals by seed}``."""
    return pd.DataFrame(
        [
            {
                "dataset": "d",
                "embedding": f"{m}.raw.{s}",
                "method": m,
                "family": family,
                "correction": "raw",
                "seed": s,
                "batch_key": "batch",
                "label_key": "cell_type",
                "bio_weight": 0.6,
                "scaling": "raw",
                "bio": t,
                "batch": t,
                "total": t,
            }
            for m, row in values.items()
            for s, t in enumerate(row)
        ]
    )


def failed(code: str, reason: str) -> pd.DataFrame:
    """Return a status table with one failed method of two seeds."""
    plan = plan_rows(("pbmc",), ("scvi",))
    files = [status_of(r, "embed", "failed", reason, code) for r in plan.itertuples() if r.correction == "raw"]
    empty = pd.DataFrame({"dataset": [], "embedding": []})
    return build_status(
        Collected(
            plan=plan, datasets=[], statuses=files, tables={"scores": empty, "probing": empty}, facts={"pbmc": {}}
        )
    )


def test_failed_method_is_one_error_for_all_its_seeds_with_the_reason():
    found = checks.failed_steps(failed("ScfmError", "Too few cells."), NAMES)
    assert len(found) == 1 and found[0]["code"] == "E-RUN-01" and found[0]["severity"] == "error"
    assert found[0]["text"].startswith("scVI (scvi.raw.0, scvi.raw.1): the step 'embed' failed. Too few cells.")
    assert found[0]["values"]["embeddings"] == ["scvi.raw.0", "scvi.raw.1"]


def test_missing_result_has_its_own_code():
    assert [m["code"] for m in checks.failed_steps(failed("no_result", "The task left no result."), NAMES)] == [
        "E-RUN-02"
    ]


def test_results_that_nobody_planned_are_an_error():
    plan = plan_rows(("pbmc",), ("pca",))
    stray = next(plan_rows(("pbmc",), ("harmony",)).itertuples())
    empty = pd.DataFrame({"dataset": [], "embedding": []})
    found = checks.unplanned_results(
        Collected(
            plan=plan, datasets=[], statuses=[status_of(stray, "embed")], tables={"scores": empty, "probing": empty}
        )
    )
    assert [m["code"] for m in found] == ["E-RUN-03"] and "'pbmc.harmony.raw.0'" in found[0]["text"]
    known = Collected(plan=plan, datasets=[], statuses=[], tables={"scores": empty, "probing": empty})
    assert checks.unplanned_results(known) == []


def test_a_message_of_a_sidecar_is_about_its_data_set():
    row = next(plan_rows(("pbmc",), ("harmony",)).itertuples())
    sidecar = sidecar_of(row, 1200, lost=7)
    sidecar["warnings"] = [message("W-MOD-18", method="uce"), message("W-MOD-18", dataset="other", method="uce")]
    empty = pd.DataFrame({"dataset": [], "embedding": []})
    found = Collected(
        plan=plan_rows(("pbmc",), ("harmony",)),
        datasets=[],
        sidecars=[sidecar],
        tables={"scores": scores({}).reindex(columns=[*scores({"a": {"b": 1}})]), "probing": empty},
        facts={"pbmc": {}},
    )
    all_of_them = checks.all_messages(
        found, {"status": build_status(found), "totals": totals({"harmony": [0.5]})}, METRICS, NAMES
    )
    assert [m["dataset"] for m in all_of_them if m["code"] == "W-MOD-18"] == ["other", "pbmc"]


def test_undefined_metrics_share_a_message_by_reason():
    table = pd.concat(
        [
            scores({"pca": {"bras": None, "kbet": None}, "harmony": {"bras": None, "nmi": 0.5}}),
            scores({"pca": {"bras": None, "nmi": 0.4}}, group="HSC", reason="label_in_one_batch"),
        ]
    )
    found = {m["values"]["reason"]: m for m in checks.undefined_metrics(table, NAMES)}
    assert set(found) == {"one_batch", "label_in_one_batch"}
    assert (
        found["one_batch"]["severity"] == "warning" and "'BRAS', 'kBET' for 2 embeddings" in found["one_batch"]["text"]
    )
    assert found["label_in_one_batch"]["severity"] == "info" and "1 label 'HSC'" in found["label_in_one_batch"]["text"]
    assert checks.undefined_metrics(scores({"pca": {"bras": 0.1}}), NAMES) == []


def test_metrics_disagree_when_first_by_one_is_in_the_worst_third_by_another():
    table = scores(
        {"harmony": {"bras": 0.9, "kbet": 0.1}, "pca": {"bras": 0.5, "kbet": 0.5}, "scvi": {"bras": 0.6, "kbet": 0.6}}
    )
    found = checks.disagreeing_metrics(table, METRICS, NAMES)
    assert [(m["code"], m["method"]) for m in found] == [("W-MET-01", "harmony")]
    assert (
        "Harmony ranks 1st of 3 by BRAS and 3rd by kBET" in found[0]["text"] and "no single winner" in found[0]["text"]
    )


def test_a_disagreement_of_ranks_among_like_values_is_no_news():
    """Ranks turn round within 0.2; the gap is a parameter."""
    near = {
        "harmony": {"bras": 0.65, "kbet": 0.4},
        "pca": {"bras": 0.5, "kbet": 0.5},
        "scvi": {"bras": 0.6, "kbet": 0.6},
    }
    assert checks.disagreeing_metrics(scores(near), METRICS, NAMES) == []
    (found,) = checks.disagreeing_metrics(scores(near), METRICS, NAMES, 0.05)
    assert found["threshold"]["gap"] == 0.05


def test_what_reads_the_labels_is_marked_and_reported_once():
    plan = plan_rows(("pbmc",), ("pca", "harmony"))
    plan = pd.concat([plan, plan.assign(correction="center_label_balanced", embedding=plan["embedding"] + "x")])
    found = checks.circular_scores(plan, NAMES)
    assert [(m["code"], m["method"]) for m in found] == [("W-MET-03", "harmony"), ("W-MET-03", "pca")]
    assert NAMES.method("pca", "center_label_balanced") == "PCA + center_label_balanced [reads the labels]"
    methods = pd.DataFrame({"name": ["scanvi"], "title": ["scANVI"], "reference": [""], "needs_labels": ["true"]})
    other = Names.of(methods, METRICS.assign(title=METRICS["name"]), plan)
    assert other.method("scanvi") == "scANVI [reads the labels]"
    assert other.method("pca") == "pca"


def test_metrics_that_agree_bio_metrics_controls_and_two_methods_are_silent():
    agreed = {
        "harmony": {"bras": 0.9, "kbet": 0.9},
        "pca": {"bras": 0.5, "kbet": 0.5},
        "scvi": {"bras": 0.6, "kbet": 0.6},
    }
    assert checks.disagreeing_metrics(scores(agreed), METRICS, NAMES) == []
    turned = {
        "harmony": {"bras": 0.9, "nmi": 0.1, "asw": 0.1},
        "pca": {"bras": 0.5, "nmi": 0.5, "asw": 0.5},
        "scvi": {"bras": 0.6, "nmi": 0.6, "asw": 0.6},
    }
    assert checks.disagreeing_metrics(scores(turned), METRICS, NAMES) == []  # one batch metric in the total only
    split = {
        "harmony": {"bras": 0.9, "kbet": 0.1},
        "pca": {"bras": 0.5, "kbet": 0.5},
        "scvi": {"bras": 0.6, "kbet": 0.6},
    }
    assert checks.disagreeing_metrics(scores(split, family="control"), METRICS, NAMES) == []
    assert checks.disagreeing_metrics(scores({k: split[k] for k in ("harmony", "pca")}), METRICS, NAMES) == []


def test_ties_are_no_disagreement():
    tied = {m: {"bras": 1.0, "kbet": 0.2 * i} for i, m in enumerate(("harmony", "pca", "scvi"))}
    assert checks.disagreeing_metrics(scores(tied), METRICS, NAMES) == []  # all are first by BRAS: no news
    tied["harmony"]["bras"], tied["pca"]["bras"], tied["scvi"]["bras"] = 1.0, 1.0, 0.1
    found = checks.disagreeing_metrics(scores(tied | {"combat": {"bras": 0.2, "kbet": 0.3}}), METRICS, NAMES)
    assert [m["method"] for m in found] == ["harmony"]  # first (tied) by BRAS and far behind by kBET
    assert checks.disagreeing_metrics(scores({m: {"bras": 1.0, "kbet": 0.2} for m in tied}), METRICS, NAMES) == []


def test_spread_over_seeds_wider_than_the_gap_to_the_nearest_method():
    found = checks.unstable_over_seeds(totals({"scvi": [0.60, 0.70], "harmony": [0.66], "pca": [0.30]}), NAMES)
    assert [(m["code"], m["method"]) for m in found] == [("W-SEED-01", "scvi")]
    assert (
        "varies over 2 seeds with a standard deviation of 0.071, more than its gap of 0.010 to Harmony"
        in found[0]["text"]
    )
    assert abs(found[0]["threshold"] - 0.01) < 1e-9


def test_stable_seeds_one_seed_and_controls_are_silent():
    assert checks.unstable_over_seeds(totals({"scvi": [0.60, 0.61], "harmony": [0.80]}), NAMES) == []
    assert checks.unstable_over_seeds(totals({"scvi": [0.60], "harmony": [0.60]}), NAMES) == []
    assert checks.unstable_over_seeds(totals({"scvi": [0.1, 0.9]}), NAMES) == []
    assert checks.unstable_over_seeds(totals({"scvi": [0.1, 0.9], "harmony": [0.5]}, family="control"), NAMES) == []


def test_errors_come_first_and_nothing_is_reported_twice():
    a = message("W-IN-04", source="X", dataset="d")
    b = message("E-RUN-03", n_embeddings=1, values={"embeddings": ["x"]}, dataset="d")
    c = message("I-MOD-03", file="f", rows=3)
    assert [m["code"] for m in checks.sort_messages([c, a, b, dict(a)])] == ["E-RUN-03", "W-IN-04", "I-MOD-03"]
