"""What is wrong with a matrix that should hold counts, as sentences."""

from __future__ import annotations

from scfm.io.counts import MatrixFacts
from scfm.registries.messages import sentence
from scfm.text import plural


def faults_of(name: str, facts: MatrixFacts, *, round_counts: bool) -> list[str]:
    """Return the sentences about a matrix that can't serve as counts; empty if it can.

    Parameters
    ----------
    name
        How messages call the file.
    facts
        From :func:`find_counts`.
    round_counts
        Whether fractions may be rounded.
    """
    place, faults = f"{name}: {facts.source}", []
    if facts.n_nan:
        faults.append(
            f"{place} holds {plural(facts.n_nan, 'NaN value')}; counts must be finite. "
            "Remove or repair the cells they belong to."
        )
    if facts.n_infinite:
        faults.append(
            f"{place} holds {plural(facts.n_infinite, 'infinite value')}; counts must be finite. "
            "Remove or repair the cells they belong to."
        )
    if facts.n_negative:
        faults.append(
            f"{place} holds {plural(facts.n_negative, 'negative value')}; counts can't be negative. "
            "The data may be scaled or corrected: "
            "point the samplesheet's counts_layer at raw counts."
        )
    if facts.looks_logged:
        faults.append(sentence("E-IN-02", place=place, n_fractional=facts.n_fractional, maximum=facts.maximum))
    elif facts.n_fractional and not round_counts:
        faults.append(
            sentence(
                "E-IN-01/refused",
                place=place,
                n_fractional=facts.n_fractional,
                n_stored=facts.n_stored,
                max_fraction=facts.max_fraction,
            )
        )
    if facts.maximum <= 0 and not faults:
        faults.append(
            f"{place} holds no counts: no value is above zero. Point the samplesheet's counts_layer at raw counts."
        )
    return faults
