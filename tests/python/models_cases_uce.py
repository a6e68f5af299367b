"""What the contract tests need of UCE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models_contract import Golden, ModelCases

CHECKPOINT = "model_files/tiny_2layer_model.torch"
BASE = {
    "species": "human",
    "checkpoint": CHECKPOINT,
    "heads": 4,
    "sample_size": 64,
    "pad_length": 128,
    "chrom_token_offset": 216,
}
OFFICIAL = {**BASE, "filter": True, "rng": "legacy", "numpy_seed": 0, "batch_size": 5}


def _tokens(model: Any, tokens: Any, expected: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any, Any]]:
    kept = np.flatnonzero(tokens.lengths)
    found = tokens.take(kept)
    yield "sentences", found.padded("ids", expected["sentences"].shape[1], 0), expected["sentences"]
    yield "lengths", found.lengths, expected["seq_len"]
    use = model.genes.known & model.genes.extra["kept"]
    yield "gene tokens", model.genes.ids[use], expected["pe_row_idxs"]
    yield "chromosomes", model.genes.extra["chromosome"][use], expected["chrom_codes"]
    yield "starts", model.genes.extra["start"][use], expected["starts"]


def _break_vocabulary(folder: Path) -> None:
    import pickle

    path = folder / "model_files" / "species_offsets.pkl"
    offsets = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps({k: v + 200 for k, v in offsets.items()}))


CASES = ModelCases(
    model="uce",
    fixture="uce",
    settings={**BASE, "filter": False},
    golden=(
        Golden("batches of 5, padding attended", {**OFFICIAL, "pad_mode": "official"}, "emb", _tokens),
        Golden("batches of 1", {**OFFICIAL, "pad_mode": "official", "batch_size": 1}, "emb_batch1", _tokens),
        Golden("padding masked", {**OFFICIAL, "pad_mode": "masked"}, "emb_batch1", _tokens),
        Golden(
            "token table by name", {**OFFICIAL, "token_table": "model_files/all_tokens.torch"}, "emb_batch1", _tokens
        ),
    ),
    tensors=CHECKPOINT,
    needed="transformer_encoder.layers.1.linear2.weight",
    pickles=("model_files/species_offsets.pkl",),
    break_vocabulary=_break_vocabulary,
)
