"""Names that stand for several subjects: a replicate in several conditions whose sex, age or genotype differ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from scfm.inputs.keys import as_text
from scfm.registries.messages import message

if TYPE_CHECKING:
    import pandas as pd

#: obs columns that say what a subject is, in lower case; a subject keeps these
CONSTANT_FIELDS = frozenset({"sex", "gender", "genotype", "species", "organism", "strain", "ethnicity"})
#: the same for fields that change while a subject is sampled
CHANGING_FIELDS = frozenset({"age", "development_stage"})


def subject_fields(columns: Iterable[str], *, paired: str) -> list[str]:
    """Return the obs columns that say what a subject is; age only where repeated sampling is not declared."""
    wanted = CONSTANT_FIELDS if paired == "true" else CONSTANT_FIELDS | CHANGING_FIELDS
    return [c for c in columns if c.lower().removeprefix("self_reported_") in wanted]


def reused_levels(level: "pd.Series", condition: "pd.Series", fields: "pd.DataFrame") -> dict[str, dict[str, Any]]:
    """Return the levels that stand for several subjects.

    Parameters
    ----------
    level, condition
        Replicate or donor and condition of every cell, missing values allowed.
    fields
        Subject-level columns, same rows.

    Returns
    -------
    ``{level: {field: {condition: value}}}``: levels that have one value of a field in every condition, and not the same
    in all. A field with several values inside a condition says nothing about a level.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in fields:
        rows = fields[[name]].assign(
            level=level.to_numpy(), condition=condition.to_numpy(), value=as_text(fields[name])
        )
        rows = rows[["level", "condition", "value"]].dropna().drop_duplicates()
        for key, part in rows.groupby("level", sort=True):
            per_condition = part.groupby("condition")["value"]
            if part["condition"].nunique() < 2 or per_condition.nunique().max() > 1 or part["value"].nunique() < 2:
                continue
            found.setdefault(str(key), {})[name] = {str(c): str(v.iloc[0]) for c, v in per_condition}
    return found


def reuse_messages(
    obs: "pd.DataFrame", fields: "pd.DataFrame", *, keys: dict[str, str], paired: str
) -> tuple[list[dict], bool]:
    """Return W-DES-01 for donors and batches that share a name, and whether donors do.

    Parameters
    ----------
    obs
        ``batch, donor, condition``, missing values allowed.
    fields
        Subject-level columns, same rows.
    keys
        Names of the keys ``batch``, ``donor`` and ``condition`` in the samplesheet; empty where not given.
    paired
        ``true``, ``false`` or empty, as declared.
    """
    messages, donors_reused = [], False
    if not keys.get("condition"):
        return [], False
    for name in ("donor", "batch"):
        if (
            not keys.get(name)
            or keys[name] == keys["condition"]
            or (name == "batch" and keys[name] == keys.get("donor"))
        ):
            continue
        found = reused_levels(obs[name], obs["condition"], fields)
        about = {"key": keys[name], "condition_key": keys["condition"]}
        if found:
            level, differing = next(iter(found.items()))
            field, shown = next(iter(differing.items()))
            messages.append(
                message(
                    "W-DES-01",
                    n_levels=len(found),
                    level=level,
                    field=field,
                    shown=shown,
                    values={**about, "levels": found},
                )
            )
        elif name == "donor" and paired == "false":
            counts = obs[["donor", "condition"]].dropna().drop_duplicates()["donor"].value_counts()
            shared = sorted(str(d) for d in counts.index[counts > 1])
            if not shared:
                continue
            messages.append(
                message("W-DES-01/declared", levels=shared, n_levels=len(shared), values={**about, "levels": shared})
            )
            found = {donor: {} for donor in shared}
        donors_reused |= name == "donor" and bool(found)
    return messages, donors_reused
