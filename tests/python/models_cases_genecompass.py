"""What the contract tests need of GeneCompass: every array of the fixture."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models_contract import Golden, ModelCases

BASE = {"gene_column": "gene_symbol"}
TOKENS = "prior_knowledge/human_mouse_tokens.pickle"


def _tokens(model: Any, tokens: Any, expected: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any, Any]]:
    width = expected["input_ids"].shape[1]
    ids, values = (tokens.padded(name, width + 1, 0)[:, 1:] for name in ("ids", "values"))
    yield "ids", ids, expected["input_ids"]
    yield "lengths", np.minimum(tokens.n_genes, model.max_length), expected["length"]
    yield "values", np.abs(values - expected["values"]).max() <= 1e-6, True


def _golden(release: str, key: str, **settings: Any) -> Golden:
    return Golden(release, {**BASE, **settings}, key, _tokens, no_row=("cell7",))


def add_token(path: Path) -> None:
    """Add a gene to the token dictionary."""
    content = pickle.loads(path.read_bytes())
    content["ENSG99999999999"] = len(content)
    path.write_bytes(pickle.dumps(content))


CASES = ModelCases(
    model="genecompass",
    fixture="genecompass",
    settings=BASE,
    golden=(
        _golden("default settings", "embedding"),
        _golden("cls", "embedding_cls", pooling="cls"),
        _golden("mean", "embedding_mean", pooling="mean"),
        _golden("cls, padding masked", "embedding_cls_masked", attend_padding=False),
        _golden("cls, species 1", "embedding_cls_species1", species="mouse"),
    ),
    tensors="GeneCompass_Base/pytorch_model.bin",
    needed="bert.encoder.layer.1.intermediate.dense.weight",
    pickles=(
        TOKENS,
        "dict/Gene_id_name_dict1.pickle",
        "dict/gene_id_hpromoter.pickle",
        "dict/human_gene_median_after_filter.pickle",
    ),
    break_vocabulary=lambda folder: add_token(folder / TOKENS),
    needs_both_ids=True,
)
