"""Valid, tiny outputs of every process, in the formats of ``docs/architecture.md``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from scfm.io.tables import read_json, read_table, write_embedding, write_json, write_table
from scfm.task.resources import versions_of
from scfm.task.steps import embedding_id
from scfm.testing.stub_diagnosis import stub_chosen, stub_diagnosed
from scfm.testing.stub_expression import stub_compared, stub_evidence, stub_placed, stub_query, stub_reference
from scfm.testing.stub_inputs import (
    BATCHES,
    CELLS,
    LABELS,
    stub_check_inputs,
    stub_common_cells,
    stub_design,
    stub_fetch,
    stub_recipe,
    stub_resolve_inputs,
    stub_shards,
)

PAIR = {"batch_key": "batch", "label_key": "label"}
COORDINATES = [[0.0, 1.0], [1.0, 0.0], [0.1, 1.1], [1.1, 0.1]]


def _split_id(name: str) -> dict:
    dataset, method, correction, seed = name.split(".")
    about = {"method": method, "correction": correction, "seed": int(seed)}
    return {"dataset": dataset, "embedding": f"{method}.{correction}.{seed}", **about}


def _status(args: Namespace, step: str, name: str | None = None) -> None:
    identity = _split_id(name or args.id)
    content = {
        "dataset": identity["dataset"],
        "embedding": identity["embedding"],
        "step": step,
        "status": "ok",
        "reason": "",
        "reason_code": "",
        "seconds": 0.0,
        "peak_rss_mb": 0.0,
        "peak_gpu_mb": None,
    }
    write_json(args.outdir / f"{name or args.id}.{step}.status.json", content)


def _sidecar(args: Namespace) -> dict:
    return _split_id(args.id) | {
        "family": args.family,
        "is_control": args.family == "control",
        "output_type": "embedding",
        "settings": {},
        "versions": versions_of(["numpy"]),
        "device": "cpu",
        "seconds": 0.0,
        "peak_rss_mb": 0.0,
        "peak_gpu_mb": None,
        "cells_in": len(CELLS),
        "cells_out": len(CELLS),
        "n_dims": 2,
        "cells_per_second": None,
        "warnings": [],
        "status": "ok",
        "reason": "",
    }


def stub_prepare_dataset(args: Namespace) -> None:
    """Four cells in two batches and two labels."""
    import anndata as ad
    import numpy as np
    import pandas as pd

    obs = pd.DataFrame(
        {
            "cell_id": CELLS,
            "batch": BATCHES,
            "label": LABELS,
            "condition": None,
            "donor": None,
            "tissue": None,
            "sample": BATCHES,
            "n_counts": 10.0,
            "n_genes": 2,
            "scored": True,
            "held_out": [False, False, True, True],
            "batch:batch": BATCHES,
            "label:label": LABELS,
        }
    )
    name = args.dataset
    write_table(obs, args.outdir / f"{name}.obs.parquet")
    write_embedding(args.outdir / f"{name}.pca.parquet", CELLS, np.array(COORDINATES))
    splits = pd.DataFrame(
        {**PAIR, "cell_id": CELLS, "target": "label", "scheme": "kfold", "fold": ["0", "0", "1", "1"]}
    )
    write_table(splits, args.outdir / f"{name}.splits.parquet")
    facts = {
        "n_cells": 4,
        "n_genes": 2,
        "n_hvg": 2,
        "batches": {"b1": 2, "b2": 2},
        "labels": {"T": 2, "B": 2},
        "dataset": name,
        "batch_role": "technical",
        "keys": {},
        "key_pairs": [],
        "dropped": {},
        "warnings": [],
    }
    write_json(args.outdir / f"{name}.facts.json", facts)
    status = {"dataset": name, "embedding": "", "step": "prepare", "status": "ok", "reason": "", "reason_code": ""}
    write_json(args.outdir / f"{name}.prepare.status.json", status)
    (args.outdir / f"{name}.dropped_cells.tsv").write_text("cell_id\treason\tdetail\n")
    prepared = ad.AnnData(np.ones((4, 2), dtype=np.float32), obs=obs.set_index("cell_id")[["batch", "label"]])
    prepared.write_h5ad(args.outdir / f"{name}.prepared.h5ad")


def stub_embedding(args: Namespace) -> None:
    """An unchecked embedding of the four cells."""
    import numpy as np

    write_embedding(args.outdir / f"{args.id}.unchecked.parquet", CELLS, np.array(COORDINATES))
    write_json(args.outdir / f"{args.id}.unchecked.json", _sidecar(args))
    _status(args, args.step)


def stub_validated(args: Namespace) -> None:
    """The same, after the validation gate."""
    import numpy as np

    write_embedding(args.outdir / f"{args.id}.parquet", CELLS, np.array(COORDINATES))
    write_json(args.outdir / f"{args.id}.json", _sidecar(args))
    _status(args, "validate")


def stub_neighbors(args: Namespace) -> None:
    """Two neighbours, self first."""
    import numpy as np

    indices = np.array([[0, 2], [1, 3], [2, 0], [3, 1]], dtype=np.int32)
    distances = np.array([[0.0, 0.14]] * 4, dtype=np.float32)
    np.savez(args.outdir / f"{args.id}.knn.npz", cell_ids=np.array(CELLS), indices=indices, distances=distances)
    _status(args, "neighbors")


def stub_scores(args: Namespace) -> None:
    """One metric, and the centroids of two groups."""
    import pandas as pd

    from scfm.metrics import centroids, scoring

    row = _split_id(args.id) | {
        "family": args.family,
        **PAIR,
        "metric": "bras",
        "group": "all",
        "value": 0.5,
        "spread": None,
        "stderr": None,
        "n_cells": 4,
        "n_labels": None,
        "scaled": None,
        "status": "ok",
        "reason": "",
        "higher_is_better": True,
    }
    write_table(pd.DataFrame([row])[list(scoring.COLUMNS)], args.outdir / f"{args.id}.scores.tsv")
    groups = {
        **_split_id(args.id),
        "family": args.family,
        **PAIR,
        "batch": BATCHES[::2],
        "label": LABELS[:2],
        "n_cells": 2,
        "nearest_batch": BATCHES[::-2],
        "nearest_label": LABELS[:2],
        "aligned": True,
        "chance": 0.5,
    }
    write_table(pd.DataFrame(groups, columns=list(centroids.COLUMNS)), args.outdir / f"{args.id}.centroids.tsv")
    _status(args, "score")


def stub_scores_common(args: Namespace) -> None:
    """The scores of the four cells, again."""
    stub_scores(args)
    (args.outdir / f"{args.id}.scores.tsv").rename(args.outdir / f"{args.id}.scores_{args.scoring_pass}.tsv")
    for name in ("centroids.tsv", "score.status.json"):
        (args.outdir / f"{args.id}.{name}").unlink()
    _status(args, f"score_{args.scoring_pass}")


def stub_probing(args: Namespace) -> None:
    """One probe."""
    import pandas as pd

    from scfm.metrics.scoring import IDENTITY
    from scfm.probing.rows import COLUMNS

    row = _split_id(args.id) | {
        "family": args.family,
        **PAIR,
        "target": "label",
        "scheme": "kfold",
        "classifier": "knn",
        "fold": "mean",
        "group": "all",
        "metric": "accuracy",
        "value": 1.0,
        "n_test": 4,
        "baseline_majority": 0.5,
        "baseline_permuted": 0.5,
        "permuted_q95": 0.6,
        "p_value": 0.01,
        "status": "ok",
        "reason": "",
    }
    write_table(pd.DataFrame([row])[[*IDENTITY, *PAIR, *COLUMNS]], args.outdir / f"{args.id}.probing.tsv")
    _status(args, "probe")


def stub_umaps(args: Namespace) -> None:
    """Coordinates and one picture of one pixel per embedding."""
    import base64

    import pandas as pd

    pixel = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
    )
    for path in args.sidecars:
        sidecar = read_json(path)
        name = embedding_id(sidecar["dataset"], sidecar["method"], sidecar["correction"], sidecar["seed"])
        frame = pd.DataFrame({"cell_id": CELLS, "embedding": sidecar["embedding"], "umap_1": 0.0, "umap_2": 1.0})
        (args.outdir / f"{name}.umap_batch.png").write_bytes(pixel)
        _status(args, "umap", name)
        write_table(frame, args.outdir / f"{name}.umap.parquet")


def stub_h5ad(args: Namespace) -> None:
    """The prepared object."""
    Path(args.output).write_bytes(Path(args.prepared).read_bytes())


def stub_tables(args: Namespace) -> None:
    """Status rows from the plan, and a clean verdict."""
    plan = read_table(args.plan)
    write_table(plan.assign(step="embed", status="ok", reason_code="", reason=""), args.outdir / "status.tsv")
    write_json(args.outdir / "warnings.json", [])
    write_json(
        args.outdir / "verdict.json",
        {"exit_status": 0, "n_failed": 0, "n_unexplained": 0, "message": "Stub run: nothing was computed."},
    )


def stub_report(args: Namespace) -> None:
    """An empty section and summary."""
    (args.outdir / "stub_mqc.html").write_text("<!-- id: stub -->\n<p>Stub run.</p>\n")
    args.outdir.with_name("summary.txt").write_text("Stub run.\n")


STUBS = {
    "check_inputs": stub_check_inputs,
    "prepare_dataset": stub_prepare_dataset,
    "design": stub_design,
    "embedding": stub_embedding,
    "shards": stub_shards,
    "validated": stub_validated,
    "neighbors": stub_neighbors,
    "scores": stub_scores,
    "common_cells": stub_common_cells,
    "scores_common": stub_scores_common,
    "probing": stub_probing,
    "umaps": stub_umaps,
    "compared": stub_compared,
    "evidence": stub_evidence,
    "query": stub_query,
    "reference": stub_reference,
    "placed": stub_placed,
    "chosen": stub_chosen,
    "diagnosed": stub_diagnosed,
    "h5ad": stub_h5ad,
    "tables": stub_tables,
    "report": stub_report,
    "resolve_inputs": stub_resolve_inputs,
    "fetch": stub_fetch,
    "recipe": stub_recipe,
}
