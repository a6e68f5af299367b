"""What the batch of a data set is: its role, what is confounded with it, and what a guess would score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.inputs.keys import primary_pair
from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.tables import table
from scfm.report.page.templates import render
from scfm.report.sections.verdict import role_of
from scfm.report.view.probes import PROBE_ALPHA
from scfm.report.view.study import CENTRED, RAW, probing_values
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_ROLES = {
    "technical": "technical: a difference between its levels is not wanted, and a high batch score is good",
    "biological": "biological: a perfect batch score would mean that this biology is gone",
    "mixed": "mixed: technique and biology change together, and no score can tell which of them was removed",
}
_RELATIONS = {
    "one_to_one": "the same split as the batch: the two can't be told apart",
    "batch_in_column": "batches nested in it: every batch has one level",
    "column_in_batch": "nested in the batch: every level occurs in one batch",
    "partial": "overlaps in part: some combinations do not occur",
    "crossed": "crossed: every combination occurs",
}
_HEAD = ["Column of obs", "Levels", "To the batch", "Cramer's V", "Cells", "Splits the same way"]
#: rows shown before the table is folded
_SHOWN = 15
#: embeddings that a sentence names
_NAMED = 6
#: a logistic probe this near to a baseline reads nothing; it has too few permutations for a test
NEAR = 0.02
_METRICS = (
    ("auroc", "AUROC"),
    ("balanced_accuracy", "balanced accuracy"),
    ("accuracy", "accuracy"),
    ("macro_f1", "macro-F1"),
)


def design_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return what the batch is; nothing where neither the catalogue nor the preparation says anything about it."""
    facts, row = data.facts(dataset), data.row(dataset)
    scenario = data.catalogue.get(row["scenario"]) if row.get("scenario") else None
    found = facts.get("confounding") or []
    if scenario is None and not found:
        return []
    role = role_of(data, dataset)
    rows = [_confounding_row(e) for e in found]
    body = render(
        "design.html.j2",
        batch=primary_pair(row)[0],
        role=f"declared {_ROLES.get(role, role)}" if role else "its role is not declared (batch_role)",
        scenario=scenario,
        sentences=confounding_sentences(found, primary_pair(row)[0]),
        table=table(_HEAD, rows[:_SHOWN]) if rows else "",
        more=table(_HEAD, rows[_SHOWN:]) if len(rows) > _SHOWN else "",
        rest=plural(len(rows) - _SHOWN, "more column"),
    )
    return [
        Section(
            "design",
            "What the batch is",
            "html",
            body,
            description=(
                "A batch score can't tell technique from biology; the design can say what a removed difference was."
                " Measured from obs: how each column is related to the batches, with Cramer's V (0 independent, 1 one"
                " determines the other; bias-corrected)."
            ),
        )
    ]


def confounding_sentences(found: list[dict[str, Any]], batch: str = "") -> list[str]:
    """Return what can't be told apart from the batch, as sentences; a key that names the column ``batch`` itself has
    a sentence of its own.
    """
    own = [e for e in found if e["column"] == batch and e["key"]]
    found = [e for e in found if e not in own]
    said = [f"The batch is the {e['key']} itself: what differs between {e['key']}s is removed with it." for e in own]
    names = {kind: [_name(e) for e in found if e["relation"] == kind and e["key"] != "label"] for kind in _RELATIONS}
    if names["one_to_one"]:
        said.append(
            f"Can't be told apart from the batch: {', '.join(names['one_to_one'])}. Removing one removes the other."
        )
    if names["batch_in_column"]:
        said.append(
            f"Every batch has a single level of {', '.join(names['batch_in_column'])}: mixing all batches also mixes"
            " these."
        )
    if names["column_in_batch"]:
        said.append(
            f"Nested in the batch: {', '.join(names['column_in_batch'])}. Each level is seen in one batch only, so a"
            " part of what batches differ in may be the difference of these levels."
        )
    label = next((e for e in found if e["key"] == "label"), None)
    if label is not None and label["relation"] != "crossed":
        said.append(
            f"Labels and batches: not every label occurs in every batch (V {number(label['cramers_v'])}); such labels"
            " count less or not at all in batch metrics."
        )
    return said


def _name(entry: dict[str, Any]) -> str:
    return f"{entry['column']}" + (f" ({entry['key']})" if entry["key"] else "")


def _confounding_row(entry: dict[str, Any]) -> list[str]:
    return [
        _name(entry),
        f"{entry['levels']}",
        _RELATIONS[entry["relation"]],
        number(entry["cramers_v"]),
        f"{entry['n_cells']:,}",
        ", ".join(entry["same_as"]),
    ]


def baseline_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return chance and majority baselines of the probes beside what the methods reach, with who is no better than a
    guess.
    """
    rows = probing_values(data, dataset)
    rows = rows[rows["correction"].isin([RAW, CENTRED])]
    if rows.empty:
        return []
    facts = data.facts(dataset)
    lines, said = [], []
    for target, classes in (("batch", facts.get("batches", {})), ("label", facts.get("labels", {}))):
        for metric, title in _METRICS:
            part = rows[(rows["target"] == target) & (rows["metric"] == metric)].dropna(subset=["value"])
            if part.empty:
                continue
            chance = f"{1 / len(classes):.2f}" if classes and metric != "macro_f1" else "–"
            chance = "0.50" if metric == "auroc" else chance
            ends = [part.loc[part["value"].idxmin()], part.loc[part["value"].idxmax()]]
            lines.append(
                [
                    f"{target.capitalize()}, {title}",
                    chance,
                    number(part["baseline_majority"].mean()),
                    number(part["baseline_permuted"].mean()),
                    _end(data, ends[0]),
                    number(part["value"].median()),
                    _end(data, ends[1]),
                ]
            )
        said += _tested(data, dataset, target) + _guesses(data, rows[rows["target"] == target], target)
    head = ["Probe", "Guess at random", "Largest class", "Permuted targets", "Lowest", "Median", "Highest"]
    return [
        Section(
            "baselines",
            "Chance and majority",
            "html",
            render("baselines.html.j2", table=table(head, lines), sentences=said),
            description=(
                "Logistic regression on random folds, raw and centred embeddings. The 15-NN probe, whose classes are"
                " permuted many times, judges what is no better than guessing. A number means something only beside"
                " what a guess scores: on unbalanced classes a low macro-F1 can be a classifier that always says the"
                " largest class, which is no better removal than chance."
            ),
        )
    ]


def _end(data: "ReportData", row: "pd.Series") -> str:
    return f"{number(row['value'])} {data.names.method(row['method'], row['correction'])}"


def _some(names: list[str]) -> str:
    """Return the first names and the number of the others, which are in the table of probes."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _tested(data: "ReportData", dataset: str, target: str) -> list[str]:
    """Return whose 15-NN probe is no better than guessing, by its AUROC against the permuted ones."""
    rows = data.of("probing", dataset)
    rows = rows[
        (rows["target"] == target)
        & (rows["scheme"] == "kfold")
        & (rows["classifier"] == "knn")
        & (rows["fold"] == "mean")
        & (rows["group"] == "all")
        & (rows["metric"] == "auroc")
        & rows["p_value"].notna()
        & ~rows["method"].isin(data.names.controls)
    ]
    if rows.empty:
        return []
    p = rows.groupby(["method", "correction"])["p_value"].min()
    low = [data.names.method(*key) for key, value in p.items() if value > PROBE_ALPHA]
    who = _some(low) or "none"
    return [
        f"{target.capitalize()}, 15-NN probe no better than guessing (p above {PROBE_ALPHA:g} by permutation): {who}."
    ]


def _guesses(data: "ReportData", rows: "pd.DataFrame", target: str) -> list[str]:
    """Return who is not above the baselines, by accuracy against the largest class and by macro-F1 against both."""

    def names(part: "pd.DataFrame") -> str:
        return _some([data.names.method(m, v) for m, v in zip(part["method"], part["correction"], strict=True)])

    said = []
    f1, accuracy = rows[rows["metric"] == "macro_f1"], rows[rows["metric"] == "accuracy"]
    low = f1[f1["value"] <= f1[["baseline_majority", "baseline_permuted"]].max(axis=1) + NEAR]
    if len(low):
        said.append(f"{target.capitalize()}, macro-F1 at most {NEAR} above guessing: {names(low)}.")
    same = accuracy[accuracy["value"] <= accuracy["baseline_majority"] + NEAR]
    if len(same):
        said.append(
            f"{target.capitalize()}, accuracy at most {NEAR} above always saying the largest class: {names(same)}."
        )
    return said
