"""Hold every result against the plan: one row per planned embedding and step, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scfm.io.tables import IDENTITY
from scfm.registries.instances import SWEEP
from scfm.report.tables import diagnosed
from scfm.report.tables.common_pass import STEPS as PASSES
from scfm.report.tables.common_pass import expected
from scfm.text import listing, plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.tables.load import Collected

#: step -> the step whose result it needs (of the same embedding)
RAW_STEPS = {
    "embed": None,
    "validate": "embed",
    "neighbors": "validate",
    "score": "neighbors",
    "probe": "validate",
    "umap": "neighbors",
}
CORRECTED_STEPS = {
    "correct": None,
    "validate": "correct",
    **{k: v for k, v in RAW_STEPS.items() if k not in {"embed", "validate"}},
}
STEPS = ("embed", "correct", "validate", "neighbors", "score", *PASSES.values(), "probe", "umap", diagnosed.STEP)
#: steps about a whole data set -> the columns of the samplesheet that ask for it; without any, every data set has it
DATASET_STEPS: dict[str, tuple[str, ...]] = {
    "design": (),
    "de": ("condition_key",),
    "orthogonal": ("gmt", "network", "modality_keys", "clinical_keys"),
    "query": ("query",),
}
#: steps that the points of a sweep don't have
NOT_OF_POINTS = frozenset({PASSES["common"], "probe", "umap"})
#: the step of a data set that is mapped to the reference of an earlier run, and not prepared
MAPPED_STEP = "query"
#: step -> the parameter that leaves it out
SWITCHES = {
    "probe": "skip_probing",
    "umap": "skip_umap",
    diagnosed.STEP: "skip_diagnosis",
    "de": "skip_diagnosis",
    "orthogonal": "skip_diagnosis",
}

NO_RESULT = "no_result"
NOT_PREPARED = "not_prepared"
EARLIER_FAILED = "earlier_step_failed"
EARLIER_NOT_APPLICABLE = "earlier_step_not_applicable"
SWITCHED_OFF = "switched_off"

_NO_RESULT_TEXT = (
    "The task left no result (killed or out of memory after all retries): see pipeline_info/execution_trace."
)
_NOT_PREPARED_TEXT = (
    "The preparation of data set '{dataset}' left no result, so no step of it could run: see"
    " pipeline_info/execution_trace."
)


def steps_of(
    correction: str, *, passes: Iterable[str] = (), is_diagnosed: bool = False, is_point: bool = False
) -> dict[str, str | None]:
    """Return the steps of an embedding, in order, each with the step it needs.

    Parameters
    ----------
    correction
        ``raw`` or the name of a correction.
    passes
        Steps of the further passes that score it.
    is_diagnosed
        Whether it is among the embeddings that are diagnosed.
    is_point
        Whether it is a point of a sweep, which is scored and nothing more.
    """
    steps = RAW_STEPS if correction == "raw" else CORRECTED_STEPS
    steps = {**steps, **dict.fromkeys(passes, "validate")}
    if is_point:
        return {step: needs for step, needs in steps.items() if step not in NOT_OF_POINTS}
    return {**steps, diagnosed.STEP: "score"} if is_diagnosed else steps


def build_status(
    found: "Collected", *, steps_off: Iterable[str] = (), attempts: dict[tuple[str, str], str] | None = None
) -> "pd.DataFrame":
    """Return ``status.tsv``: every planned embedding x step, explained.

    A step that left a status file is what the file says. A step without one is ``not_applicable`` if the plan says that
    the embedding can't be made (a model without weights …), if a step it needs did not give a result (the reason is
    there) or if it was switched off, else ``failed`` with the code ``no_result``: nothing that was planned is ever
    missing from the table.

    Parameters
    ----------
    found
        Everything the steps left.
    steps_off
        Steps that the run was asked to leave out.
    attempts
        ``{(process, embedding id): what the trace says of the last attempt}`` from the Nextflow trace, added to
        the sentence of a missing result.
    """
    import pandas as pd

    left = {(s["dataset"], s["embedding"], s["step"]): _effective(s, found) for s in found.statuses}
    off, again = set(steps_off), expected(found)
    chosen = set() if diagnosed.STEP in off else diagnosed.expected(found)
    parents = {(r.dataset, r.method, r.seed): r.embedding for r in found.plan.itertuples() if r.correction == "raw"}
    outcome: dict[tuple[str, str, str], dict[str, str]] = {}
    rows = []
    # raw embeddings first: a corrected one needs its parent's outcome
    for row in sorted(found.plan.itertuples(), key=lambda r: (r.correction != "raw", r.dataset, r.embedding)):
        name = (row.dataset, row.embedding)
        passes = [step for step, names in again.items() if name in names]
        is_point = row.instance == SWEEP
        steps = steps_of(row.correction, passes=passes, is_diagnosed=name in chosen, is_point=is_point)
        for step, needs in steps.items():
            earlier = outcome.get((row.dataset, row.embedding, needs)) if needs else None
            if step == "correct":
                parent = parents.get((row.dataset, row.method, row.seed), "")
                earlier = outcome.get((row.dataset, parent, "validate"))
            key = (row.dataset, row.embedding, step)
            result = (
                left.get(key)
                or _planned(step, row)
                or _explain(step, earlier, off)
                or _unexplained(step, row, found, attempts or {})
            )
            outcome[key] = result
            rows.append(
                {
                    **{column: getattr(row, column) for column in IDENTITY},
                    "is_control": row.is_control,
                    "step": step,
                    **result,
                }
            )
    table = pd.DataFrame(rows, columns=found.schemas.columns("status"))
    order = table["step"].map({s: i for i, s in enumerate(STEPS)})
    return table.assign(_o=order).sort_values(["dataset", "embedding", "_o"], ignore_index=True).drop(columns="_o")


def _effective(status: dict[str, Any], found: "Collected") -> dict[str, str]:
    """Return the outcome in a status file; an ``ok`` without the rows it promises is a failure."""
    promised = [t.name for t in found.schemas.tables.values() if t.every_embedding and t.step == status["step"]]
    for name in promised if status["status"] == "ok" else ():
        table = found.tables[name]
        rows = (table["dataset"] == status["dataset"]) & (table["embedding"] == status["embedding"])
        if not rows.any():
            return {
                "status": "failed",
                "reason_code": NO_RESULT,
                "reason": f"The step '{status['step']}' reports success but the table {name} has no row of this"
                " embedding.",
            }
    return {k: str(status.get(k) or "") for k in ("status", "reason_code", "reason")}


def _planned(step: str, row: Any) -> dict[str, str] | None:
    """Return the outcome of the first step of an embedding that was planned as one that can't be made."""
    if step != "embed" or not row.status:
        return None
    return {"status": row.status, "reason_code": row.reason_code, "reason": row.reason}


def _explain(step: str, earlier: dict[str, str] | None, off: set[str]) -> dict[str, str] | None:
    """Return the outcome of a step without a status file, if the settings or an earlier step account for it."""
    if step in off:
        return {
            "status": "not_applicable",
            "reason_code": SWITCHED_OFF,
            "reason": f"The run was asked to leave this step out (--{SWITCHES[step]}).",
        }
    if earlier is None or earlier["status"] == "ok":
        return None
    if earlier["status"] == "failed":
        return {
            "status": "not_applicable",
            "reason_code": EARLIER_FAILED,
            "reason": "A step that this one requires failed; its row has the reason.",
        }
    code = (
        earlier["reason_code"] if earlier["reason_code"] in {EARLIER_FAILED, SWITCHED_OFF} else EARLIER_NOT_APPLICABLE
    )
    return {
        "status": "not_applicable",
        "reason_code": code,
        "reason": "A step that this one requires gave no result; its row has the reason.",
    }


def _unexplained(step: str, row: Any, found: "Collected", attempts: dict[tuple[str, str], str]) -> dict[str, str]:
    """Return the failure of a step that left nothing, with what the preparation and the trace can say about it."""
    left = found.preparations.get(row.dataset, {"status": "ok"})
    if left["status"] != "ok":
        reason = f"Data set '{row.dataset}' could not be prepared, so no step of it ran: {left['reason']}"
        return {"status": "failed", "reason_code": NOT_PREPARED, "reason": reason}
    if row.dataset not in found.facts:
        reason = _NOT_PREPARED_TEXT.format(dataset=row.dataset)
    else:
        reason = f"{_NO_RESULT_TEXT} {attempts.get((step, f'{row.dataset}.{row.embedding}'), '')}".strip()
    return {"status": "failed", "reason_code": NO_RESULT, "reason": reason}


def failed_dataset_steps(found: "Collected", steps_off: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return the failed steps about a whole data set, as ``dataset, step, reason, reason_code``; the preparation's
    failure is that of its embeddings.

    A step of :data:`DATASET_STEPS` that was asked for and has no status, of a data set that was prepared, has left no
    result.

    Parameters
    ----------
    found
        Everything the steps left.
    steps_off
        Steps that the run was asked to leave out.
    """
    off, known = set(steps_off), {(s["dataset"], s["step"]): s["status"] for s in found.dataset_statuses}
    fields = ("dataset", "step", "reason", "reason_code")
    failed = [{f: s[f] for f in fields} for s in found.dataset_statuses if s["status"] == "failed"]
    for dataset in found.facts:
        for name, columns in DATASET_STEPS.items():
            waits = name == "de" and known.get((dataset, "design")) != "ok"  # without a design it has no input
            if (dataset, name) not in known and name not in off and not waits and _asked(found, dataset, columns):
                failed.append({"dataset": dataset, "step": name, "reason": _NO_RESULT_TEXT, "reason_code": NO_RESULT})
    for row in found.datasets:
        if row.get("reference") and (row["dataset"], MAPPED_STEP) not in known:
            lost = {"dataset": row["dataset"], "step": MAPPED_STEP}
            failed.append(lost | {"reason": _NO_RESULT_TEXT, "reason_code": NO_RESULT})
    return sorted(failed, key=lambda s: (s["dataset"], s["step"]))


def _asked(found: "Collected", dataset: str, columns: Sequence[str]) -> bool:
    """Return whether the row of a data set names one of the columns that ask for a step."""
    row = next((row for row in found.datasets if row["dataset"] == dataset), {})
    return not columns or any(row.get(column) for column in columns)


def verdict(status: "pd.DataFrame", dataset_steps: Sequence[Mapping[str, Any]] = ()) -> dict[str, int | str]:
    """Return what the run ends with: counts of outcomes, a sentence, and the exit status (1 when anything is
    failed).

    Parameters
    ----------
    status
        ``status.tsv``.
    dataset_steps
        From :func:`failed_dataset_steps`.
    """
    failed = status[status["status"] == "failed"]
    unexplained = int((failed["reason_code"] == NO_RESULT).sum())
    unexplained += sum(s["reason_code"] == NO_RESULT for s in dataset_steps)
    n_failed = len(failed) + len(dataset_steps)
    text = f"All {len(status)} planned steps are accounted for, and none failed." if len(status) else "No step failed."
    if n_failed:
        names = sorted(
            {f"{r.dataset}.{r.embedding} ({r.step})" for r in failed.itertuples()}
            | {f"{s['dataset']} ({s['step']})" for s in dataset_steps}
        )
        text = (
            f"{plural(n_failed, 'step')} failed, {unexplained} of them without a result or a reason:"
            f" {listing(names)}. The reasons are in the report and in tables/status.tsv."
        )
    return {
        "n_ok": int((status["status"] == "ok").sum()),
        "n_not_applicable": int((status["status"] == "not_applicable").sum()),
        "n_failed": n_failed,
        "unexplained": unexplained,
        "exit_status": int(n_failed > 0),
        "message": text,
    }
