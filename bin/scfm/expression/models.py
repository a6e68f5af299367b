"""The comparison that a scVI model of the run makes, for the labels of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import NotApplicable
from scfm.expression.compare import Pair, Study, consensus_of, conserved
from scfm.expression.rows import PSEUDOBULK, SCVI, Result, called, ordered, refused
from scfm.expression.scvi_de import TrainedModel, decoded_batches

if TYPE_CHECKING:
    import pandas as pd


def model_results(study: Study, pair: Pair, model: TrainedModel, embedding: str) -> list[Result]:
    """Return what the model finds in a label, with every decoding that the design asks for."""
    level, reference = (study.cells_of(pair.label, c) for c in (pair.level, pair.reference))
    about = (pair.label, pair.level, pair.reference)
    counted = {
        "model": embedding,
        "relation": study.choice.relation,
        "n_cells_level": int(level.sum()),
        "n_cells_reference": int(reference.sum()),
        "null_reason": "no_p_values",
    }
    compared = level | reference
    try:
        if min(level.sum(), reference.sum()) < study.settings.min_cells:
            raise NotApplicable(
                f"A condition has fewer than {study.settings.min_cells} cells of this label.", "few_cells"
            )
        batch = study.cells.loc[compared, "batch"].to_numpy(dtype=object)
        decodings = decoded_batches(study.choice.relation, batch, level[compared])
    except NotApplicable as error:
        return [refused(*about, SCVI, error, **counted)]
    consensus = consensus_of(study, pair)
    found = []
    for analysis, (corrected, batches) in decodings.items():
        table = model.compare(
            list(study.cells.index[level]),
            list(study.cells.index[reference]),
            corrected=corrected,
            batches=batches,
            delta=study.settings.delta,
            fdr=study.settings.fdr,
        ).rename(columns={"is_changed": "is_significant"})
        facts = {**counted, **conserved(table, consensus, study.settings.fdr)}
        found.append(Result(*about, analysis, ordered(table, study.symbols), facts))
    return found


def count_in_model(results: list[Result], model: TrainedModel) -> None:
    """Write into the pseudobulk results how many of their genes are in the model (``n_significant_in_model``)."""
    genes = set(model.genes)
    for result in results:
        if result.analysis == PSEUDOBULK and result.genes is not None:
            result.facts["n_significant_in_model"] = _called(result.genes, genes)


def _called(table: "pd.DataFrame", genes: set[str]) -> int:
    return int((called(table) & table["gene"].isin(genes)).sum())
