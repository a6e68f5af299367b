"""Results checked against the plan: every planned step is there, explained."""

from __future__ import annotations

import pandas as pd
import pytest

from helpers_report import plan_rows, sidecar_of, status_of
from scfm.errors import ScfmError
from scfm.io.tables import write_json, write_table
from scfm.registries.schemas import Schemas
from scfm.registries.typed import read_typed
from scfm.report.tables.load import Collected, collect, read_plan
from scfm.report.tables.status import build_status, steps_of, verdict

EMPTY = pd.DataFrame({"dataset": [], "embedding": []})


def collected(statuses, methods=("harmony",), *, facts=("pbmc",), scores=None, probing=None, chosen=()) -> Collected:
    """Return what a run of one data set left."""
    plan = plan_rows(("pbmc",), methods)
    rows = pd.DataFrame({"dataset": "pbmc", "embedding": plan["embedding"]})
    return Collected(
        plan=plan,
        datasets=[{"dataset": "pbmc"}],
        statuses=statuses,
        tables={"scores": rows if scores is None else scores, "probing": rows if probing is None else probing},
        facts={name: {} for name in facts},
        chosen={"pbmc": {"dataset": "pbmc", "embeddings": list(chosen), "warnings": []}} if chosen is not None else {},
    )


def complete(plan: pd.DataFrame, **changed) -> list[dict]:
    """Return status files of everything, without the steps in ``changed`` (``{embedding: {step: status or None}}``)."""
    files = []
    for row in plan.itertuples():
        for step in steps_of(row.correction):
            change = changed.get(row.embedding.replace(".", "_"), {}).get(step, "ok")
            if change is not None:
                reason = "" if change == "ok" else f"because {change}"
                files.append(status_of(row, step, change, reason, "" if change == "ok" else f"code_{change}"))
    return files


def outcome(table: pd.DataFrame, embedding: str) -> dict[str, tuple[str, str]]:
    """Return ``{step: (status, reason code)}`` of one embedding."""
    rows = table[table["embedding"] == embedding]
    return {r.step: (r.status, r.reason_code) for r in rows.itertuples()}


def test_everything_there_is_ok_and_the_run_ends_well():
    plan = plan_rows(("pbmc",), ("harmony",))
    table = build_status(collected(complete(plan)))
    assert set(table["status"]) == {"ok"}
    assert verdict(table)["exit_status"] == 0
    assert list(outcome(table, "harmony.raw.0")) == ["embed", "validate", "neighbors", "score", "probe", "umap"]
    assert list(outcome(table, "harmony.center_l2.0")) == ["correct", "validate", "neighbors", "score", "probe", "umap"]


def test_chosen_embeddings_are_diagnosed_and_a_missing_choice_shows():
    plan = plan_rows(("pbmc",), ("harmony",))
    files = complete(plan)
    table = build_status(collected(files, chosen=("harmony.raw.0",)))
    assert outcome(table, "harmony.raw.0")["diagnose"] == ("failed", "no_result")
    assert "diagnose" not in outcome(table, "harmony.center_l2.0")
    missing = build_status(collected(files, chosen=None))
    assert (missing["step"] == "diagnose").sum() == len(plan)
    off = build_status(collected(files, chosen=None), steps_off=["diagnose"])
    assert not (off["step"] == "diagnose").any()
    row = next(r for r in plan.itertuples() if r.embedding == "harmony.raw.0")
    rows = pd.DataFrame({"dataset": ["pbmc"], "embedding": ["harmony.raw.0"]})
    found = collected([*files, status_of(row, "diagnose", "ok", "", "")], chosen=("harmony.raw.0",))
    found.tables |= dict.fromkeys(("residual", "markers", "overcorrection"), rows)
    assert outcome(build_status(found), "harmony.raw.0")["diagnose"] == ("ok", "")


def test_a_failed_method_explains_everything_after_it_also_of_its_corrections():
    plan = plan_rows(("pbmc",), ("harmony", "pca"))
    raw = {s: None for s in ("validate", "neighbors", "score", "probe", "umap")} | {"embed": "failed"}
    files = complete(plan, harmony_raw_0=raw, harmony_center_l2_0={s: None for s in steps_of("center_l2")})
    table = build_status(collected(files, ("harmony", "pca")))
    assert outcome(table, "harmony.raw.0")["embed"] == ("failed", "code_failed")
    rest = {
        **outcome(table, "harmony.raw.0"),
        **{f"c_{k}": v for k, v in outcome(table, "harmony.center_l2.0").items()},
    }
    del rest["embed"]
    assert set(rest.values()) == {("not_applicable", "earlier_step_failed")}
    assert set(outcome(table, "pca.raw.0").values()) == {("ok", "")}
    end = verdict(table)
    assert (end["n_failed"], end["unexplained"], end["exit_status"]) == (1, 0, 1)
    assert "pbmc.harmony.raw.0 (embed)" in end["message"]


def test_a_step_missing_without_any_explanation_is_failed_and_unexplained():
    plan = plan_rows(("pbmc",), ("harmony",))
    files = complete(plan, harmony_raw_0={"neighbors": None, "score": None, "umap": None})
    table = build_status(collected(files))
    steps = outcome(table, "harmony.raw.0")
    assert steps["neighbors"] == ("failed", "no_result")
    assert steps["score"] == steps["umap"] == ("not_applicable", "earlier_step_failed")
    assert steps["probe"] == ("ok", "")  # probing requires the validation gate only
    reason = table.loc[table["reason_code"] == "no_result", "reason"].item()
    assert reason.startswith(
        "The task left no result (killed or out of memory after all retries): see pipeline_info/execution_trace"
    )
    assert verdict(table) | {"message": ""} == {
        "n_ok": 9,
        "n_not_applicable": 2,
        "n_failed": 1,
        "unexplained": 1,
        "exit_status": 1,
        "message": "",
    }


def test_the_trace_adds_why_a_task_left_nothing():
    plan = plan_rows(("pbmc",), ("harmony",))
    files = complete(plan, harmony_raw_0={"score": None})
    table = build_status(
        collected(files),
        attempts={("score", "pbmc.harmony.raw.0"): "The trace says: failed with exit status 137 in attempt 3."},
    )
    assert "exit status 137 in attempt 3" in table.loc[table["step"] == "score", "reason"].str.cat()


def test_a_data_set_that_was_not_prepared_is_named():
    table = build_status(collected([], facts=()))
    assert outcome(table, "harmony.raw.0")["embed"] == ("failed", "no_result")
    assert "The preparation of data set 'pbmc' left no result" in table["reason"].iloc[-6:].str.cat()


def test_not_applicable_is_carried_on_and_fails_nothing():
    plan = plan_rows(("pbmc",), ("harmony",))
    raw = {s: None for s in ("validate", "neighbors", "score", "probe", "umap")} | {"embed": "not_applicable"}
    files = complete(plan, harmony_raw_0=raw, harmony_center_l2_0={s: None for s in steps_of("center_l2")})
    table = build_status(collected(files))
    assert outcome(table, "harmony.raw.0")["validate"] == ("not_applicable", "earlier_step_not_applicable")
    assert outcome(table, "harmony.center_l2.0")["umap"] == ("not_applicable", "earlier_step_not_applicable")
    assert verdict(table)["exit_status"] == 0


def test_a_step_switched_off_is_not_missing():
    plan = plan_rows(("pbmc",), ("harmony",))
    files = complete(plan, harmony_raw_0={"umap": None}, harmony_center_l2_0={"umap": None})
    table = build_status(collected(files), steps_off=["umap"])
    assert outcome(table, "harmony.raw.0")["umap"] == ("not_applicable", "switched_off")
    assert verdict(table)["exit_status"] == 0


@pytest.mark.parametrize("step", ["score", "probe"])
def test_success_without_rows_is_a_failure(step):
    plan = plan_rows(("pbmc",), ("harmony",))
    name = {"score": "scores", "probe": "probing"}[step]
    table = build_status(collected(complete(plan), **{name: EMPTY}))
    assert outcome(table, "harmony.raw.0")[step] == ("failed", "no_result")
    assert f"The step '{step}' reports success but the table {name} has no row" in table["reason"].str.cat()


def test_results_are_found_in_folders_and_files_and_sorted_by_what_they_are(tmp_path):
    row = next(plan_rows(("pbmc",), ("harmony",)).itertuples())
    write_table(plan_rows(("pbmc",), ("harmony",)), tmp_path / "plan.tsv")
    write_json(tmp_path / "datasets.json", [{"dataset": "pbmc"}])
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write_json(tmp_path / "deep" / "er" / "pbmc.harmony.raw.0.embed.status.json", status_of(row, "embed"))
    write_json(tmp_path / "deep" / "pbmc.harmony.raw.0.json", sidecar_of(row, 10))
    write_json(tmp_path / "deep" / "pbmc.facts.json", {"n_cells": 10})
    write_json(tmp_path / "deep" / "input_warnings.json", [{"code": "W-IN-01"}])
    write_json(tmp_path / "deep" / "unrelated.json", {"a": 1})
    found = collect(tmp_path / "plan.tsv", tmp_path / "datasets.json", [tmp_path / "deep"])
    assert (len(found.statuses), len(found.sidecars), found.facts["pbmc"]["n_cells"], len(found.messages)) == (
        1,
        1,
        10,
        1,
    )
    assert found.scores.empty and list(found.scores.columns) == Schemas().columns("scores")


def test_a_folder_that_does_not_exist_is_a_sentence(tmp_path):
    write_table(plan_rows(("pbmc",), ("harmony",)), tmp_path / "plan.tsv")
    write_json(tmp_path / "datasets.json", [])
    with pytest.raises(ScfmError, match="does not exist; --results takes the files and folders"):
        collect(tmp_path / "plan.tsv", tmp_path / "datasets.json", [tmp_path / "nowhere"])


def test_a_plan_with_a_column_missing_or_an_embedding_twice_is_refused(tmp_path):
    plan = plan_rows(("pbmc",), ("harmony",))
    write_table(plan.drop(columns="family"), tmp_path / "a.tsv")
    with pytest.raises(ScfmError, match=r"a\.tsv: columns missing: family"):
        read_plan(tmp_path / "a.tsv")
    write_table(pd.concat([plan, plan.iloc[:1]]), tmp_path / "b.tsv")
    with pytest.raises(ScfmError, match=r"1 embeddings are planned twice, first: pbmc\.harmony\.raw\.0"):
        read_plan(tmp_path / "b.tsv")


def test_a_label_called_na_is_a_label(tmp_path):
    columns = Schemas().columns("scores")
    values = [
        "pbmc",
        "pca.raw.0",
        "pca",
        "none",
        "raw",
        "0",
        "batch",
        "cell_type",
        "bras",
        "NA",
        "NA",
        "NA",
        "NA",
        "NA",
        "NA",
        "NA",
        "not_applicable",
        "one_batch",
        "True",
    ]
    (tmp_path / "x.scores.tsv").write_text("\t".join(columns) + "\n" + "\t".join(values) + "\n")
    row = read_typed(tmp_path / "x.scores.tsv", "scores", Schemas()).iloc[0]
    assert (
        row["group"] == "NA"
        and pd.isna(row["value"])
        and pd.isna(row["n_cells"])
        and bool(row["higher_is_better"]) is True
    )


def test_a_value_of_the_wrong_type_is_named_with_file_and_column(tmp_path):
    columns = Schemas().columns("scores")
    values = ["pbmc", "pca.raw.0", "pca", "none", "raw", "zero", "b", "l", "bras", "all", "0.5", "NA", "NA", "10"]
    values += ["NA", "NA", "ok", "", "true"]
    (tmp_path / "x.scores.tsv").write_text("\t".join(columns) + "\n" + "\t".join(values) + "\n")
    with pytest.raises(
        ScfmError, match=r"x\.scores\.tsv, column 'seed': 1 values are not of type integer, first: 'zero'"
    ):
        read_typed(tmp_path / "x.scores.tsv", "scores", Schemas())
