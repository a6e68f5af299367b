"""Models in the report: what did not run and why, randomly initialised weights, bf16, random twins among the controls,
citations.
"""

from __future__ import annotations

import re

import pandas as pd
import pytest

import helpers_report
from helpers_report import ASSETS, METHODS, collected, plan_rows, sidecar_of, write_run
from scfm.io.tables import read_json, read_table, write_json, write_table
from scfm.report.sections.guide import methods_text
from scfm.report.sections.messages import messages_html
from scfm.report.sections.overview import verdict_line
from scfm.report.sections.run import status_matrix
from scfm.report.sections.tradeoff import tradeoff_sections
from scfm.report.tables import checks
from scfm.report.tables.names import Names, read_methods
from scfm.report.tables.resources import last_attempts, read_trace
from scfm.report.view.summary import summarise

MODELS = {
    "scgpt": ("foundation_model", False, 0.72, 0.41),
    "scgpt_random": ("foundation_model", True, 0.99, 0.99),
    "uce": ("foundation_model", False, 0.5, 0.5),
    "scfoundation": ("foundation_model", False, 0.5, 0.5),
}
REASONS = {
    "uce": ("organism_not_supported", "UCE has a vocabulary for human; this data set is of 'axolotl'."),
    "scfoundation": (
        "weights_missing",
        (
            "The weights of scFoundation are not in w/scfoundation. Get them with: bin/fetch_weights.py --model"
            " scfoundation --dest w"
        ),
    ),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one data set with a model on randomly initialised weights in bf16, its random twin, and two models that
    could not run.
    """
    with pytest.MonkeyPatch.context() as patch:
        kept = {name: METHODS[name] for name in ("pca", "harmony", "combat", "random", "label_onehot")} | MODELS
        patch.setattr(helpers_report, "METHODS", kept)
        patch.setattr(helpers_report, "STOCHASTIC", {"scgpt", "scgpt_random", "random"})
        root = tmp_path_factory.mktemp("models")
        plan = plan_rows(("pbmc",), tuple(kept))
        patch.setattr(helpers_report, "plan_rows", lambda *_: plan)
        made = write_run(root / "run", datasets=("pbmc",))
    plan["model"] = plan["method"].str.removesuffix("_random").where(plan["family"] == "foundation_model", "")
    for name, (code, reason) in REASONS.items():
        plan.loc[plan["method"] == name, ["status", "reason_code", "reason"]] = ["not_applicable", code, reason]
        for path in made.results.glob(f"pbmc.{name}.*"):
            path.unlink()
    write_table(plan, made.plan)
    for path in made.results.glob("pbmc.scgpt*.?.json"):
        drift = {"cells": 64, "cosine_min": 0.97, "cosine_median": 0.9999}
        write_json(path, read_json(path) | {"weights_random": True, "bf16_drift": drift})
    data = collected(made, root / "tables")
    return root / "tables", data, data.verdict


def _text(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)


def test_a_model_that_did_not_run_is_explained_and_is_no_failure(run) -> None:
    tables, _, verdict = run
    status = read_table(tables / "status.tsv").fillna("")
    for name, (code, reason) in REASONS.items():
        rows = status[status["method"] == name]
        embed = rows[rows["step"] == "embed"].iloc[0]
        assert (embed["status"], embed["reason_code"], embed["reason"]) == ("not_applicable", code, reason)
        rest = rows[rows["step"] != "embed"]
        assert {"raw", "center_l2"} == set(rest["correction"])
        assert set(zip(rest["status"], rest["reason_code"], strict=True)) == {
            ("not_applicable", "earlier_step_not_applicable")
        }
    assert (verdict["n_failed"], verdict["exit_status"]) == (0, 0)


def test_messages_say_what_to_do(run) -> None:
    told = {(m["code"], m["method"]): m for m in read_json(run[0] / "warnings.json")}
    missing = told["W-MOD-04", "scfoundation"]
    assert missing["severity"] == "warning" and missing["dataset"] == "pbmc"
    assert missing["text"] == f"scFoundation did not run. {REASONS['scfoundation'][1]}"
    assert told["I-MOD-01", "uce"]["severity"] == "info"
    random = told["W-MOD-05", "scgpt"]
    assert "scGPT ran with randomly initialised weights" in random["text"]
    assert ("W-MOD-05", "scgpt_random") not in told  # weights of a control are random by definition
    drift = told["W-MOD-06", "scgpt"]
    assert "cosine of 0.99990 (median) and 0.97000 (lowest)" in drift["text"] and "--precision fp32" in drift["advice"]


def test_one_message_for_all_data_sets_and_seeds() -> None:
    plan = pd.concat(
        [
            plan_rows((d,), ("pca",)).assign(
                status="not_applicable", reason_code="weights_missing", reason="None here."
            )
            for d in ("a", "b")
        ]
    )
    found = checks.models_not_run(plan, Names())
    assert [(m["dataset"], m["text"]) for m in found] == [("", "pca did not run on 'a', 'b'. None here.")]


def test_bf16_close_to_fp32_is_a_note() -> None:
    row = next(plan_rows(("pbmc",), ("pca",)).itertuples())
    sidecar = sidecar_of(row, 10) | {"bf16_drift": {"cells": 5, "cosine_min": 0.9991, "cosine_median": 0.9999}}
    found = checks.bf16_drift(
        [sidecar, sidecar_of(row, 10), sidecar_of(row, 10) | {"bf16_drift": {"reason": "not measured"}}], Names()
    )
    assert [(m["code"], m["severity"]) for m in found] == [("I-MOD-02", "info")] and "--precision" not in found[0][
        "text"
    ]


def test_titles_of_models_and_their_random_twins(run) -> None:
    names = run[1].names
    assert names.method("scgpt") == "scGPT [random weights]"
    assert names.method("scgpt", "center_l2") == "scGPT [random weights] + center_l2"
    assert names.method("scgpt_random") == "scGPT (random weights) (control)"
    assert names.method("uce") == "UCE"
    assert set(read_methods(ASSETS / "methods.tsv")["name"]) >= {"pca", "cellplm", "cellplm_random"}


def test_the_random_twin_is_shown_and_judged_as_a_control(run) -> None:
    _, data, _ = run
    table = summarise(data, "pbmc")
    twin = table[table["method"] == "scgpt_random"]
    assert len(twin) == 1 and twin["is_control"].all() and not twin["front"].any()  # it scores best of all
    assert "scGPT (random weights)" not in tradeoff_sections(data, "pbmc")[0].data
    # a twin that beats every method by one metric and loses by another is no disagreement of methods
    assert not any(
        m["method"] == "scgpt_random"
        for m in read_json(run[0] / "warnings.json")
        if m["code"] in {"W-MET-01", "W-SEED-01"}
    )


def test_outcome_in_tables_and_matrix(run) -> None:
    _, data, _ = run
    outcome = summarise(data, "pbmc").set_index(["method", "correction"])["outcome"]
    assert outcome["scfoundation", "raw"] == outcome["scfoundation", "center_l2"] == "not run: weights_missing"
    assert outcome["pca", "raw"] == "ok"
    matrix = _text(status_matrix(data, "pbmc").data)
    assert (
        "scfoundation.raw.0, embed: The weights of scFoundation are not in w/scfoundation." in matrix
        and "[weights_missing]" in matrix
    )


def test_first_screen_does_not_claim_that_everything_ran(run) -> None:
    _, data, _ = run
    planned = len(data.plan)
    assert (
        verdict_line(data)
        == f"All {planned - 4} embeddings that can be made gave their results; 4 more can't be made here, for the"
        " reasons below."
    )
    shown = _text(messages_html(data.messages, data))
    assert "bin/fetch_weights.py --model scfoundation --dest w" in shown


def test_methods_text_cites_the_models_that_ran_and_no_others(run) -> None:
    text = methods_text(run[1]).data
    assert "10.1038/s41592-024-02201-0" in text  # scGPT
    assert "10.1101/2023.11.28.568918" not in text and "10.1038/s41592-024-02305-7" not in text  # UCE, scFoundation


def test_the_trace_of_a_killed_shard_explains_the_embedding(tmp_path) -> None:
    head = "task_id\tname\tstatus\texit\tattempt\trealtime\tpeak_rss\n"
    lines = [
        ("shard_000", "COMPLETED", 0, 1),
        ("shard_001", "FAILED", 137, 1),
        ("shard_001", "COMPLETED", 0, 2),
        ("shard_002", "FAILED", 137, 3),
    ]
    rows = [
        f"{i}\tX:SCGPT (pbmc.scgpt.raw.0 {s})\t{state}\t{code}\t{n}\t1s\t1 GB"
        for i, (s, state, code, n) in enumerate(lines)
    ]
    (tmp_path / "trace.tsv").write_text(head + "\n".join(rows) + "\n")
    found = last_attempts(read_trace(tmp_path / "trace.tsv"))
    assert found == {
        ("embed", "pbmc.scgpt.raw.0"): "shard_002: The trace says: failed with exit status 137 in attempt 3."
    }


def test_a_trace_with_the_fields_that_a_user_chose_is_read(tmp_path) -> None:
    (tmp_path / "trace.tsv").write_text("native_id\tname\tstatus\texit\n7\tX:HARMONY (d.harmony.raw.0)\tFAILED\t143\n")
    trace = read_trace(tmp_path / "trace.tsv")
    assert trace[["seconds", "peak_rss_mb"]].isna().all(axis=None)
    assert last_attempts(trace) == {
        ("embed", "d.harmony.raw.0"): "The trace says: failed with exit status 143 in attempt 1."
    }
