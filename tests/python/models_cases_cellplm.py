"""What the contract tests need of CellPLM."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from models_contract import Golden, ModelCases

#: settings of the official runs; the seed is what torch.manual_seed was given
RUNS = {
    "batch_bs": {"group_column": "batch", "cells_per_chunk": 7},
    "batch_all": {"group_column": "batch"},
    "nobatch_bs": {"cells_per_chunk": 7},
    "nobatch_all": {},
    "lognorm_nobatch_all": {},
}
SEED = 123


def log_normalised(adata: Any) -> Any:
    """Counts per 10,000 of all genes, log1p: the input that the paper's benchmark gives."""
    counts = sparse.csr_matrix(adata.X, dtype=np.float64)
    scaled = sparse.diags(1e4 / np.asarray(counts.sum(1)).ravel()) @ counts
    scaled.data = np.log1p(scaled.data)
    adata.X = sparse.csr_matrix(scaled, dtype=np.float32)
    return adata


def _tokens(model: Any, tokens: Any, expected: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any, Any]]:
    known = np.flatnonzero(model.genes.known)
    yield "rows of the gene table", model.genes.ids[known], expected["gene_idx"]
    yield "genes", np.array(list(model.vocabulary))[model.genes.ids[known]], expected["kept_genes"]
    column = np.full(len(model.vocabulary), -1)
    column[expected["gene_idx"]] = np.arange(len(known))
    found = np.zeros_like(expected["counts_kept"])
    found[np.repeat(np.arange(len(tokens)), tokens.lengths), column[tokens.fields["ids"]]] = np.rint(
        np.expm1(tokens.fields["values"])
    )
    yield "counts", found, expected["counts_kept"]


def _golden(checkpoint: str, run: str) -> Golden:
    is_argmax = run.startswith("argmax_")
    how: dict[str, Any] = {"checkpoint": checkpoint, **RUNS[run.removeprefix("argmax_")]}
    if checkpoint == "tiny_gmvae" and not is_argmax:
        how |= {"latent_draw": "sample", "seed": SEED}
    name, rows = f"{checkpoint}, {run}", f"{checkpoint}/{run}/emb"
    return (
        Golden(name, how, rows, change_input=log_normalised) if "lognorm" in run else Golden(name, how, rows, _tokens)
    )


def _break_vocabulary(folder: Path) -> None:
    path = folder / "tiny_vae.config.json"
    config = json.loads(path.read_text())
    config["gene_list"].append("ENSG99999999999")
    path.write_text(json.dumps(config))


CASES = ModelCases(
    model="cellplm",
    fixture="cellplm",
    settings={"checkpoint": "tiny_vae"},
    golden=tuple(_golden(c, r) for c in ("tiny_vae", "tiny_gmvae") for r in RUNS)
    + tuple(_golden("tiny_gmvae", f"argmax_{r}") for r in ("batch_bs", "nobatch_all")),
    tensors="tiny_vae.best.ckpt",
    needed="encoder.layers.1.norm2.weight",
    state=("model_state_dict",),
    break_vocabulary=_break_vocabulary,
)
