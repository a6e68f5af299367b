"""Foundation models: beside their randomly initialised twins, raw and corrected, and what is known of genes and
weights.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scfm.planning.models import RANDOM
from scfm.registries.models import ModelInfo, load_model_table
from scfm.report.page.html import number, signed
from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import Cell, Column, Row, change_cell, data_table, heat_cell
from scfm.report.tables.totals import Limits
from scfm.report.view.rows import NOTHING, EmbeddingRow, Spread, embedding_rows

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

FAMILY = "foundation_model"
#: what the weights are judged against, besides their own random twin
REFERENCE = ("pca", "raw")
_PARTS = ("bio", "batch", "total")


@dataclass(frozen=True)
class Pair:
    """A model with its own weights and its randomly initialised twin (None where there is none)."""

    model: EmbeddingRow
    twin: EmbeddingRow | None

    def gain(self, part: str) -> float:
        """Return trained minus random for ``bio``, ``batch`` or ``total``; NaN where either is missing."""
        return getattr(self.model, part).mean - (getattr(self.twin, part).mean if self.twin else math.nan)


def foundation_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the sections on the foundation models of a data set; nothing where none was planned."""
    rows = {r.key: r for r in embedding_rows(data, dataset)}
    models = [r for r in rows.values() if r.family == FAMILY and not r.method.endswith(RANDOM)]
    if not models:
        return []
    raw = [r for r in models if r.correction == "raw"]
    pairs = [Pair(r, rows.get((r.method + RANDOM, "raw"))) for r in raw]
    reference = rows.get(REFERENCE)
    sections = [
        pretraining_section(pairs, reference, Limits.of(data.params).tie, random_weights=data.names.random_weights)
    ]
    if any(r.correction != "raw" and r.bio.known for r in models):
        sections.append(correction_section(models))
    return [*sections, facts_section(data, dataset, raw)]


def pretraining_section(
    pairs: Sequence[Pair], reference: EmbeddingRow | None, tie: float, *, random_weights: Collection[str] = ()
) -> Section:
    """Return every model beside its random twin, with what pretraining adds in words.

    ``random_weights`` names the models that ran with randomly initialised weights in place of their own.
    """
    said = [
        f"{p.model.title}: nothing can be said of pretraining, as no pretrained weights were used."
        if p.model.method in random_weights
        else pretraining_sentence(p, reference, tie)
        for p in pairs
    ]
    return said_section(
        "pretraining",
        "What pretraining adds",
        said,
        _pretraining_table(pairs, reference),
        description=(
            "Each model with its pretrained weights beside its twin: the same network and the same genes with randomly"
            f" initialised weights. What the twin reaches needs no pretraining. Differences up to {number(tie, 2)} are"
            " called no difference."
        ),
    )


def _pretraining_table(pairs: Sequence[Pair], reference: EmbeddingRow | None) -> str:
    """Return bio, batch and total of models, twins and their difference, and of the uncorrected PCA at the end."""
    columns = [
        Column(f"{part.capitalize()}{ending}", tip)
        for part in _PARTS
        for ending, tip in (
            ("", f"{part}, with the pretrained weights"),
            (", random", f"{part} of the same network with randomly initialised weights"),
            (", change", f"{part}: pretrained minus random"),
        )
    ]
    body = []
    for pair in pairs:
        cells = []
        for part in _PARTS:
            twin = getattr(pair.twin, part) if pair.twin else NOTHING
            cells += [_score(getattr(pair.model, part)), _score(twin), change_cell(pair.gain(part))]
        body.append(Row(pair.model.title, cells, note=pair.model.note))
    if reference:
        dash = Cell("–", "uncorrected PCA has no weights", "scfm-none", sort="")
        cells = [c for part in _PARTS for c in (_score(getattr(reference, part)), dash, dash)]
        body.append(Row(f"For comparison: {reference.title}", cells, "scfm-control"))
    return data_table(columns, body, corner="Model", css="scfm-heat")


def _score(value: Spread) -> Cell:
    """Return a score, with the range over seeds in its tip."""
    tip = f"seeds from {value.low:.3f} to {value.high:.3f}" if value.varies else ""
    return heat_cell(value.mean if value.known else None, tip)


def pretraining_sentence(pair: Pair, reference: EmbeddingRow | None, tie: float) -> str:
    """Return what the pretrained weights add to bio over the random twin, and how the model compares with PCA."""
    model, title = pair.model, pair.model.title
    if not model.bio.known:
        return f"{title}: no scores ({model.note or 'not run'})."
    if pair.twin is None or not pair.twin.bio.known:
        said = "it was not compared with a random twin (--random_init)"
    else:
        said = f"pretraining {_verb(pair.gain('bio'), tie)} in bio and {_verb(pair.gain('batch'), tie)} in batch"
    against = ""
    if reference and reference.bio.known:
        change = model.bio.mean - reference.bio.mean
        against = f"; against {reference.title} it {_stands(change, tie)} in bio"
    return f"{title}: {said}{against}."


def _verb(change: float, tie: float) -> str:
    """Return what pretraining does to a score."""
    if math.isnan(change):
        return "can't be judged"
    if abs(change) <= tie:
        return f"makes no difference ({signed(change)})"
    return f"adds {number(change)}" if change > 0 else f"costs {number(-change)}"


def _stands(change: float, tie: float) -> str:
    """Return how a model compares with a reference."""
    if abs(change) <= tie:
        return f"can't be told apart ({signed(change)})"
    return f"is {number(abs(change))} {'higher' if change > 0 else 'lower'}"


def correction_section(models: Sequence[EmbeddingRow]) -> Section:
    """Return bio, batch and total of every model as it comes and after each correction, with the changes."""
    raw = {r.method: r for r in models if r.correction == "raw"}
    columns = [Column(f"{part}{ending}") for part in ("Bio", "Batch", "Total") for ending in ("", " against raw")]
    body = []
    for row in sorted(
        models,
        key=lambda r: (list(raw).index(r.method) if r.method in raw else len(raw), r.correction != "raw", r.title),
    ):
        before = raw.get(row.method)
        cells = []
        for part in _PARTS:
            own = getattr(row, part)
            change = own.mean - getattr(before, part).mean if before and row.correction != "raw" else math.nan
            cells += [_score(own), change_cell(change)]
        body.append(Row(row.title, cells, note=row.note))
    return Section(
        "raw_corrected",
        "Raw and corrected",
        "html",
        data_table(columns, body, corner="Model", css="scfm-heat"),
        description=(
            "Each model as it comes and after the corrections, in the order of the raw totals. A correction that gains"
            " as much for the uncorrected PCA says nothing about the model."
        ),
    )


def facts_section(data: "ReportData", dataset: str, models: Sequence[EmbeddingRow]) -> Section:
    """Return gene overlap, size, weights, corpus and licence of the models."""
    table = load_model_table(data.assets / "models.tsv")
    columns = ["Genes known", "Dimensions", "Weights", "Cells per second", "Trained on", "Licence"]
    body = []
    for row in models:
        embedding = data.plan.loc[
            (data.plan["dataset"] == dataset)
            & (data.plan["method"] == row.method)
            & (data.plan["correction"] == "raw"),
            "embedding",
        ]
        facts = data.sidecar(dataset, str(embedding.iloc[0]))
        body.append(Row(row.title, _facts(facts, table.get(row.method))))
    return Section(
        "model_facts",
        "Genes, weights and licences",
        "html",
        data_table(columns, body, corner="Model"),
        description=(
            "Genes known: the share of the genes detected in this data set that are in the vocabulary of the model. A"
            " model with few of them uses little of the data. A dash is not recorded, as for a model that did not run."
            " Cells of a public data set may be among those that a model was trained on, and their labels too where the"
            " table says so; scores on them are no measure for data that the model has never seen, and no check of this"
            " run can tell. Check the licence before you use or pass on embeddings or weights."
        ),
    )


def _facts(facts: dict[str, Any], model: ModelInfo | None) -> list[Cell]:
    """Return the cells of one model from its sidecar and its row of ``models.tsv``."""
    known, total = facts.get("genes_detected_matched"), facts.get("genes_detected")
    share = facts.get("gene_overlap")
    genes = (
        Cell(f"{share:.0%} ({known:,} of {total:,})", sort=share) if share is not None and total else Cell("–", sort="")
    )
    dims = facts.get("n_dims")
    speed = facts.get("cells_per_second")
    digests = facts.get("weights_sha256") or {}
    weights = (
        Cell("random: not a result")
        if facts.get("weights_random")
        else Cell(", ".join(d[:8] for d in digests.values()) or "–", "; ".join(f"{f}: {d}" for f, d in digests.items()))
    )
    return [
        genes,
        Cell(f"{dims:,}" if dims else "–"),
        weights,
        Cell(f"{speed:,.0f} ({facts.get('device', '')})" if speed else "–", sort=speed or ""),
        Cell(model.trained_on if model else "–"),
        Cell(model.licence if model else "–"),
    ]
