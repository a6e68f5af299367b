"""What the relation of the batch to biology, and the strength of the batch, mean for what follows, as messages."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from scfm.design.confounding import Pair
from scfm.design.limits import DesignLimits
from scfm.registries.messages import message
from scfm.text import listing

if TYPE_CHECKING:
    from scfm.design.strength import Strength

#: keys that the checks of the design ask about, with what is not known without them
ASKED = {
    "condition": "whether the batch is confounded with the condition, and differential expression",
    "donor": "whether donors are nested in batches, and tests that respect donors",
    "tissue": "whether the batch is confounded with the tissue",
}
#: words in ``labels_from`` that say that a classifier made the labels
CLASSIFIERS = ("classifier", "celltypist", "azimuth", "singler", "scmap", "scpred", "popv", "predicted", "transferred")


def label_messages(labels_from: str) -> list[dict]:
    """Return W-LAB-01 where the labels come from a classifier, by what the samplesheet says of them."""
    if not any(word in labels_from.lower() for word in CLASSIFIERS):
        return []
    return [message("W-LAB-01", values={"labels_from": labels_from})]


def confounding_messages(
    pairs: Sequence[Pair], names: Mapping[str, str], limits: DesignLimits, *, donor_columns: Collection[str] = ()
) -> list[dict]:
    """Return E-CONF-01 and W-CONF-02 of condition and tissue, and I-DES-02 where samples are too few to say more.

    Donors nested in batches are usual and no message; the diagnosis looks at them.

    Parameters
    ----------
    pairs
        Of one batch key.
    names
        Names of the keys in the samplesheet by column of the obs table.
    limits
        Limits of the associations.
    donor_columns
        Columns of the obs table of which every donor has all levels: the donor is a batch key to offer.
    """
    found = []
    for pair in pairs:
        if pair.column == "donor" or pair.relation in {"not_declared", "single"}:
            continue
        about = {"batch_key": pair.batch_key, "key": names[pair.column]}
        values = about | pair.facts()
        if names[pair.column] == pair.batch_key:
            found.append(message("E-CONF-01/same", values=values))
            continue
        if pair.relation == "nested":
            is_better = pair.column in donor_columns and pair.batch_key != names["donor"]
            other = f" The donor ('{names['donor']}') is crossed with '{names[pair.column]}'." if is_better else ""
            found.append(message("E-CONF-01", other=other, values=values))
        elif not pair.estimable:
            found.append(message("E-CONF-01/rank", values=values))
        if pair.association is None:
            found.append(message("I-DES-02", values=values, threshold=limits.min_samples))
        elif pair.relation != "nested" and limits.association(pair.association) != "weak":
            inside = f" Trust only contrasts inside {listing(pair.inside)}." if pair.inside else ""
            row = "W-CONF-02" if limits.association(pair.association) == "strong" else "W-CONF-02/moderate"
            threshold = limits.strong if row == "W-CONF-02" else limits.moderate
            coefficients = {"theils_u": pair.u_column, "cramers_v": pair.cramers_v}
            found.append(message(row, inside=inside, values=values | coefficients, threshold=threshold))
    return found


def strength_messages(
    strength: "Strength", batch_key: str, names: Mapping[str, str], limits: DesignLimits
) -> list[dict]:
    """Return I-STR-01 for a batch that explains next to nothing, W-CONF-02/effect where biology explains the same."""
    found: list[dict] = []
    pcr = strength.pcr.get("batch")
    if pcr is None:
        return found
    if pcr < limits.negligible:
        found.append(message("I-STR-01", values={"batch_key": batch_key, "pcr": pcr}, threshold=limits.negligible))
    shared, unique = strength.shared_with_batch.get("condition"), strength.unique.get("batch")
    is_same = names["condition"] == batch_key  # which E-CONF-01 says
    if shared is not None and unique is not None and shared > unique and not is_same:
        values = {"batch_key": batch_key, "key": names["condition"], "shared": shared, "unique": unique}
        found.append(message("W-CONF-02/effect", values=values, threshold=unique))
    return found


def absence_messages(names: Mapping[str, str]) -> list[dict]:
    """Return I-DES-01: keys that the samplesheet does not name, and what is not known without them."""
    absent = {f"{name}_key": what for name, what in ASKED.items() if not names.get(name)}
    if not absent:
        return []
    return [message("I-DES-01", absent="; ".join(f"{key} ({what})" for key, what in absent.items()), values=absent)]
