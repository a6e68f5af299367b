"""W-OVER-01: one message per method and data set, by one rule, with every sign of over-correction that was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.registries.messages import message
from scfm.report.tables.names import Names

if TYPE_CHECKING:
    import pandas as pd

_GROUP = ["dataset", "method", "correction"]
#: signs that make the message by themselves; labels that merge where no batch shares one are only named beside them,
#: for any removal of batch means does that, and the user's batches share labels
_DECISIVE = frozenset({"mixing", "biology_probe", "null_batches"})


def over_correction(
    scores: "pd.DataFrame", anchors: "pd.DataFrame", tests: "pd.DataFrame", names: Names, tolerance: float
) -> list[dict[str, Any]]:
    """Return W-OVER-01 of every method with a sign of over-correction.

    The signs are: a batch metric above its ``shuffled_within_label`` anchor by more than a tolerance; biology that a
    probe read inside labels before correction and does not read any more; batches dealt at random whose correction
    moves neighbourhoods. Any of them makes the message.

    Parameters
    ----------
    scores
        Rows of ``scores.tsv`` with the primary keys.
    anchors
        Those of :func:`scfm.report.tables.rating.rate`.
    tests
        ``overcorrection.tsv``.
    names
        Titles.
    tolerance
        ``--tie_tolerance``.
    """
    signs: dict[tuple[str, ...], dict[str, tuple[str, Any]]] = {}
    for key, sign in [*_mixing(scores, anchors, names, tolerance), *_tests(tests)]:
        signs.setdefault(key, {})[sign[0]] = sign[1:]
    return [
        message(
            "W-OVER-01",
            title=names.method(method, correction),
            n_signs=len(found),
            shown="; ".join(text for text, _ in found.values()),
            dataset=dataset,
            method=method,
            values={"correction": correction, "signs": {name: values for name, (_, values) in found.items()}},
            threshold=tolerance,
        )
        for (dataset, method, correction), found in sorted(signs.items())
        if _DECISIVE & set(found)
    ]


def _mixing(
    scores: "pd.DataFrame", anchors: "pd.DataFrame", names: Names, tolerance: float
) -> list[tuple[tuple[str, ...], tuple[str, str, Any]]]:
    """Return the methods whose batch metrics are above their control."""
    usable = anchors[anchors["batch_control"] & anchors["high"].notna()]
    rows = scores[(scores["group"] == "all") & (scores["status"] == "ok") & ~scores["method"].isin(names.controls)]
    rows = rows[rows["family"] != "control"].merge(usable, on=["dataset", "metric"])
    above = rows[rows["value"] > rows["high"] + tolerance]
    found = []
    for key, part in above.groupby(_GROUP, sort=True):
        means = part.groupby("metric")[["value", "high"]].mean()
        shown = [f"{names.metric(m)} {r.value:.2f} (anchor {r.high:.2f})" for m, r in means.iterrows()]
        text = f"batches mix more than if cells were shuffled within every label: {', '.join(shown)}"
        found.append((key, ("mixing", text, means.to_dict("index"))))
    return found


def _tests(tests: "pd.DataFrame") -> list[tuple[tuple[str, ...], tuple[str, str, Any]]]:
    """Return the methods that fail a test, by means over seeds."""
    known = tests[tests["status"] == "ok"]
    whole = known[(known["test"] != "biology_probe") | (known["label"] == "all")]
    found = []
    for (*key, test), part in whole.groupby([*_GROUP, "test"], sort=True):
        failed = part[part["failed"].astype(bool)]
        if failed.empty:
            continue
        row = failed.sort_values("value", ascending=test != "biology_probe").iloc[0]
        values = {name: float(row[name]) for name in ("before", "after", "value", "limit")}
        found.append((tuple(key), (str(test), _text(row), values)))
    return found


def _text(row: "pd.Series") -> str:
    """Return what a failed test means."""
    if row["test"] == "biology_probe":
        folds = "no donor in training and test" if row["folds"] == "donors" else "folds without donors"
        return (
            f"'{row['column']}' inside labels is read with a balanced accuracy of {row['after']:.2f}, before correction"
            f" {row['before']:.2f} (largest fall allowed {row['limit']:g}; {folds})"
        )
    if row["test"] == "null_batches":
        return (
            f"correcting batches dealt at random leaves {row['value']:.0%} of the neighbourhoods that it could"
            f" (at least {row['limit']:.0%})"
        )
    return (
        f"where each batch has another label, {row['value']:.0%} of the cells stay with their own label (at least"
        f" {row['limit']:.0%})"
    )
