"""What the contract tests need of scFoundation: every release of the fixture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models_cases_cellplm import log_normalised
from models_contract import Golden, ModelCases, read_expected

BASE = {"gene_column": "gene_symbol"}
LIST = "OS_scRNA_gene_index.19264.tsv"


def _tokens(name: str) -> Any:
    def check(model: Any, tokens: Any, expected: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any, Any]]:
        ids, values = expected[f"gene_ids_{name}"], expected[f"values_{name}"]
        yield "ids", tokens.padded("ids", ids.shape[1], -1), ids
        yield "lengths", tokens.lengths, expected[f"length_{name}"]
        yield "values", np.abs(tokens.padded("values", ids.shape[1], 0) - values).max() <= 1e-6, True

    return check


def _golden(release: Mapping[str, str]) -> Golden:
    settings = {
        "pooling": release["pool_type"],
        "resolution": release["tgthighres"],
        **{k: release[k] for k in ("pre_normalized", "version")},
    }
    change = None if release["input"] == "raw counts" else log_normalised
    return Golden(
        release["name"],
        {**BASE, **settings},
        f"embedding_{release['name']}",
        _tokens(release["name"]),
        change_input=change,
    )


def _break_vocabulary(folder: Path) -> None:
    path = folder / LIST
    n = len(path.read_text().splitlines()) - 1
    path.write_text(path.read_text().rstrip("\n") + f"\nONE_MORE\t{n}\n")


CASES = ModelCases(
    model="scfoundation",
    fixture="scfoundation",
    settings=BASE,
    golden=(
        *(_golden(json.loads(str(text))) for text in read_expected("scfoundation")["variants"]),
        Golden("default settings", BASE, "embedding"),
    ),
    tensors="models.ckpt",
    needed="model.encoder.transformer_encoder.1.linear2.weight",
    state=("cell", "state_dict"),
    break_vocabulary=_break_vocabulary,
)
