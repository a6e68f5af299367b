"""What the contract tests need of scGPT, and the official streams of random numbers for the seeded releases."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models_contract import Golden, ModelCases

BASE = {"gene_column": "gene_symbol"}


def _tokens(prefix: str) -> Any:
    def check(model: Any, tokens: Any, expected: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any, Any]]:
        width = expected[f"{prefix}_gene_ids"].shape[1]
        bins = tokens.padded("bins", width, 0)
        yield "ids", tokens.padded("ids", width, model.vocabulary["<pad>"]), expected[f"{prefix}_gene_ids"]
        yield "values", np.where(bins == 0, -2, bins), expected[f"{prefix}_values"]
        yield "lengths", tokens.lengths, expected[f"{prefix}_lengths"]
        yield "genes matched", model.genes.report["genes_matched"], expected["n_genes_matched"]

    return check


def _official_streams(model: Any) -> None:
    """Replace the keyed draws by the streams of the official run: NumPy's for ties, PyTorch's for subsets, cells in
    order.
    """
    import torch

    ties = np.random.RandomState(0)
    subsets = torch.Generator().manual_seed(0)

    def tie_draws(rows: Any, bits: np.ndarray, kept: np.ndarray) -> np.ndarray:
        return np.concatenate([ties.rand(n) for n in rows.lengths])[kept]

    def choose(rows: Any, bits: np.ndarray, keep: int) -> np.ndarray:
        def genes(n: int) -> np.ndarray:
            return torch.randperm(n, generator=subsets).numpy()[:keep] if n > keep else np.arange(n)

        return np.concatenate([start + genes(int(n)) for start, n in zip(rows.offsets[:-1], rows.lengths, strict=True)])

    model.tie_draws = tie_draws
    model.choose = choose


def _golden(prefix: str, **settings: Any) -> Golden:
    patch = _official_streams if settings.get("ties") != "upper" else None
    return Golden(prefix, {**BASE, **settings}, f"{prefix}_emb", _tokens(prefix), patch=patch)


def _raw(prefix: str, **settings: Any) -> Golden:
    patch = _official_streams if settings.get("ties") != "upper" else None
    return Golden(
        f"{prefix}, not normalised",
        {**BASE, "normalize": False, **settings},
        f"{prefix}_cls_raw",
        _tokens(prefix),
        patch=patch,
    )


def _break_vocabulary(folder: Path) -> None:
    path = folder / "vocab.json"
    vocabulary = json.loads(path.read_text())
    vocabulary["ONE_MORE"] = len(vocabulary)
    path.write_text(json.dumps(vocabulary))


CASES = ModelCases(
    model="scgpt",
    fixture="scgpt",
    settings={**BASE, "max_length": 64, "ties": "upper", "sampling": "first"},
    golden=(
        _golden("seeded", max_length=64),
        _golden("nosample", max_length=1200),
        _golden("det", max_length=64, ties="upper", sampling="first"),
        _golden("detfull", max_length=1200, ties="upper", sampling="first"),
        _raw("seeded", max_length=64),
        _raw("detfull", ties="upper", sampling="first"),
    ),
    tensors="best_model.pt",
    needed="transformer_encoder.layers.1.linear2.weight",
    break_vocabulary=_break_vocabulary,
)
