"""Check of the counts that a model is given: errors, and warnings for the sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.text import plural

if TYPE_CHECKING:
    from scfm.models.core.base import EmbeddingModel
    from scfm.models.core.reader import Counts, Scan


def check_counts(model: "EmbeddingModel", counts: "Counts", scan: "Scan") -> None:
    """Refuse negative, infinite and (where the model needs counts) fractional values, with a sentence."""
    hint = ""
    if "counts" in counts.layers and model.settings.input_layer != "counts":
        hint = " The file has a layer 'counts': use --set input_layer=counts."
    facts = scan.facts
    if facts.n_nan or facts.n_infinite:
        raise ScfmError(
            f"{counts.name}: {plural(facts.n_nan + facts.n_infinite, 'value')} of {facts.n_stored:,} are NaN or"
            f" infinite; expected counts.{hint}"
        )
    if facts.n_large:
        raise ScfmError(
            f"{counts.name}: {plural(facts.n_large, 'value')} of {facts.n_stored:,} are above 16,777,216 (up to"
            f" {facts.maximum:.4g}), more than single precision holds exactly; expected counts.{hint}"
        )
    if facts.n_negative:
        raise ScfmError(
            f"{counts.name}: {plural(facts.n_negative, 'value')} of {facts.n_stored:,} are negative; expected counts,"
            f" not scaled data.{hint}"
        )
    rule = model.settings.fractional if model.settings.fractional != "auto" else model.fractional
    if not facts.n_fractional or rule == "expected":
        return
    counted = f"{counts.name}: {facts.n_fractional:,} of {plural(facts.n_stored, 'non-zero value')}"
    if rule == "error":
        raise ScfmError(
            f"{counted} are fractional (such as {facts.example:.4g}); {model.name} needs raw counts,"
            f" normalised values give other tokens.{hint or ' Name the layer with the counts: --set input_layer=NAME.'}"
            " If these are counts corrected for ambient RNA, say so: --set fractional=warn."
        )
    model.warn(
        "W-MOD-02",
        model=model.name,
        counts=counted,
        example=facts.example,
        hint=hint,
        values={"n_fractional": facts.n_fractional},
    )
