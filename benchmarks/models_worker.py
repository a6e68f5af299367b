"""One process of the benchmark of models: our code, or the official code, on the same synthetic cells; orders come as
JSON lines.

A process holds one model on one side, so its peak memory is that of this model alone; the parent (``models.py``) lets
two of them take turns. Nothing here is part of the pipeline.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "bin"), str(Path(__file__).resolve().parent)]

if TYPE_CHECKING:
    import anndata
    import numpy as np

#: genes of a synthetic data set
N_GENES = 20_000
#: release of the weights and genes of the official vocabulary, by name in the benchmark
VOCABULARY = {
    "scgpt": ("scgpt", "", 60_694),
    "geneformer": ("geneformer", "V1", 25_424),
    "geneformer-v2": ("geneformer", "V2", 20_271),
    "genecompass": ("genecompass", "", 50_556),
    "scfoundation": ("scfoundation", "", 19_264),
    "uce": ("uce", "", 19_790),
    "cellplm": ("cellplm", "", 19_374),
    "sccello": ("sccello", "", 25_424),
    "nicheformer": ("nicheformer", "", 20_310),
}


def gene_names(n: int) -> tuple[list[str], list[str]]:
    """Return n synthetic symbols and Ensembl ids."""
    return [f"GENE{i:05d}" for i in range(n)], [f"ENSG{i:011d}" for i in range(n)]


def make_cells(
    n: int, *, seed: int, median_genes: float, spread: float = 0.4, n_genes: int = N_GENES
) -> "anndata.AnnData":
    """Make counts whose sequences are as long as those of real cells.

    Detected genes per cell are log-normal (median ``median_genes``; ``spread`` is the standard deviation of the
    logarithm), cut to 200 .. 8000. Which genes these are follows a popularity per gene (log-normal, 1.5), counts are 1
    + NB(0.2, 0.105): mean 2.7, 64 % ones. The two real data sets this was compared with have a spread of 0.24 and 0.36,
    and one (9,015 genes) a mean count of 2.7 and 69 % ones.
    """
    import anndata
    import numpy as np
    import pandas as pd
    from scipy import sparse

    rng = np.random.default_rng(seed)
    popularity = rng.normal(0.0, 1.5, n_genes)
    lengths = np.clip(rng.lognormal(np.log(median_genes), spread, n), 200, min(8000, n_genes)).astype(int)
    rows = [
        np.sort(np.argpartition(-(popularity + rng.gumbel(size=n_genes)), length - 1)[:length]) for length in lengths
    ]
    values = (1 + rng.negative_binomial(0.2, 0.105, int(lengths.sum()))).astype(np.float32)
    counts = sparse.csr_matrix(
        (values, np.concatenate(rows).astype(np.int32), np.concatenate([[0], np.cumsum(lengths)])), shape=(n, n_genes)
    )
    symbols, ids = gene_names(n_genes)
    obs = pd.DataFrame({"assay": "10x 3' v3", "organism": "Homo sapiens"}, index=[f"cell_{i:06d}" for i in range(n)])
    return anndata.AnnData(
        counts, obs=obs, var=pd.DataFrame({"ensembl_id": ids, "ensembl_ids": ids, "gene_name": symbols}, index=symbols)
    )


def make_weights(name: str, top: Path) -> Path:
    """Write random weights of official size and layout below a folder, unless they are there; return the model's
    folder.
    """
    from scfm.testing.tiny import make_tiny
    from scfm.testing.tiny_common import gene_table

    model, release, n = VOCABULARY[name]
    folder = top / name
    if not folder.is_dir():
        symbols, ids = gene_names(n)
        make_tiny(model, gene_table(zip(symbols, ids, strict=True)), folder, release=release, official=True)
    return folder


class Ours:
    """Our model: tokens of all cells, rows of the first cells."""

    official = ""

    def __init__(self, spec: dict[str, Any], adata: "anndata.AnnData") -> None:
        from scfm.models import load_model
        from scfm.models.core.reader import counts_of
        from scfm.models.core.runner import Runner, RunOptions, prepare

        self.spec, self.adata = spec, adata
        model = VOCABULARY[spec["name"]][0]
        how = {"gene_column": "ensembl_id"} if model in ("nicheformer", "genecompass", "cellplm") else {}
        self.model = load_model(model, spec["weights"], device=spec["device"], precision=spec["precision"], **how)
        options = RunOptions(batch_tokens=spec["batch_tokens"])
        self.counts = counts_of(adata)
        prepare(self.model, self.counts, options)
        self.runner = Runner(self.model, options)
        self.chunk = next(self.counts.chunks(adata.n_obs))
        self.first = next(self.counts.chunks(spec["cells"]))
        self.tokens = self.runner.tokenize(self.first)

    def tokenize(self) -> None:
        """Make the tokens of every cell."""
        self.runner.tokenize(self.chunk)

    def forward(self) -> "np.ndarray":
        """Return the rows of the first cells, from ready tokens."""
        return self.runner.embed_chunk(self.first, self.tokens).embedding

    def facts(self) -> dict[str, Any]:
        """Return mean tokens per cell, the width of a row and the padded tokens of a batch."""
        return {
            "tokens_per_cell": round(float(self.tokens.lengths.mean()), 1),
            "dims": self.model.n_dims,
            "batch_tokens": self.runner.budget,
        }

    def compared_with(self, device: str, precision: str, cells: int) -> dict[str, Any]:
        """Compare the rows of the first cells with those that another device or precision gives."""
        other = type(self)(self.spec | {"device": device, "precision": precision, "batch_tokens": None}, self.adata)
        for side in (self, other):
            side.first = next(side.counts.chunks(cells))
            side.tokens = side.runner.tokenize(side.first)
        return {"reference": f"{device} {precision}"} | apart(self.forward(), other.forward())


class OursAcrossCells(Ours):
    """CellPLM attends across cells: its forward is the whole stream, tokens included."""

    def __init__(self, spec: dict[str, Any], adata: "anndata.AnnData") -> None:
        super().__init__(spec | {"cells": adata.n_obs}, adata)

    def forward(self) -> "np.ndarray":
        """Return the rows of all cells, tokens included."""
        import numpy as np

        return np.concatenate([part.embedding for part in self.model.stream(self.counts, self.runner)])


def apart(rows: "np.ndarray", exact: "np.ndarray") -> dict[str, float]:
    """Return how far rows are from exact ones: cosine, and length of the difference over length of the exact row."""
    import numpy as np

    rows, exact = (x.astype(np.float64) for x in (rows, exact))
    length = np.linalg.norm(exact, axis=1)
    cosine = (rows * exact).sum(1) / (np.linalg.norm(rows, axis=1) * length)
    return {
        "cells": len(rows),
        "cosine_min": float(cosine.min()),
        "cosine_median": float(np.median(cosine)),
        "max_difference": float(np.abs(rows - exact).max()),
        "max_relative": float((np.linalg.norm(rows - exact, axis=1) / length).max()),
    }


def operations(call: Any) -> tuple[Any, float]:
    """Return what a call returns, with the floating point operations of its matrix products and attention (PyTorch's
    counter, which lacks oneDNN's product, the product with an activation and, in some versions, packed attention).
    """
    import torch
    import torch.nn.attention.varlen
    from torch.utils.flop_counter import FlopCounterMode, flop_registry

    def packed(x: Any, *_: Any, out_shape: Any, **__: Any) -> int:
        return 2 * x[0] * x[1] * out_shape[1]

    def activated(_: Any, x: Any, *__: Any, out_shape: Any, **___: Any) -> int:
        return 2 * x[0] * x[1] * out_shape[1]

    def ragged(*tensors: Any, **how: Any) -> int:
        return flop_registry[torch.ops.aten._flash_attention_forward](*tensors, **how)

    ragged._get_raw = True  # it reads the lengths of the cells, not only shapes
    mapping = {
        torch.ops.mkldnn._linear_pointwise: packed,
        torch.ops.aten._addmm_activation: activated,
        torch.ops.torch_attn._varlen_attn: ragged,
    }
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        found = call()
    return found, float(counter.get_total_flops())


def fastest_product(device: str, precision: str) -> float:
    """Return the operations per second of the fastest matrix product found on this device."""
    import torch

    from scfm.models.core.linear import Linear

    best, is_gpu = 0.0, device == "cuda"
    for n in (4096, 8192) if is_gpu else (1024, 2048):
        for width in (n,) if is_gpu else (768, 1024, 1280):
            how = {"device": device, "dtype": torch.bfloat16 if precision == "bf16" else torch.float32}
            layer = Linear(torch.randn(width, width, **how), torch.randn(width, **how)).pack()
            x = torch.randn(n, width, **how)
            seconds = []
            for _ in range(12):
                start = time.perf_counter()
                layer(x)
                if is_gpu:
                    torch.cuda.synchronize()
                seconds.append(time.perf_counter() - start)
            best = max(best, 2 * n * width * width / min(seconds))
    return best


def peak_mb() -> float:
    """Return the largest resident memory of this program (``ru_maxrss`` would start with that of the parent)."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def measured(call: Any) -> tuple[Any, dict[str, float]]:
    """Return what a call returns, with its wall time and the CPU time of this process, in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return found, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def serve(spec: dict[str, Any], reply: Any) -> None:
    """Build the side that was asked for and obey: ``tokenize``, ``forward``, ``quit``."""
    import numpy as np
    import torch

    torch.set_num_threads(spec["threads"])
    adata = make_cells(spec["token_cells"], seed=spec["seed"], median_genes=spec["median_genes"])
    base = peak_mb()
    if spec["side"] == "ours":
        kind = OursAcrossCells if spec["name"] == "cellplm" else Ours
        side, seconds = measured(lambda: kind(spec, adata))
    else:
        from models_official import SIDES

        side, seconds = measured(lambda: SIDES[spec["name"]](spec, adata))
    print(
        json.dumps({"ready": True, "load": seconds, "rss_before_mb": base, "official": side.official, **side.facts()}),
        file=reply,
        flush=True,
    )
    for line in sys.stdin:
        order = line.strip()
        if order == "quit":
            break
        found, seconds = measured(side.tokenize if order == "tokenize" else side.forward)
        if order == "forward":
            np.save(spec["rows"], np.asarray(found, dtype=np.float32))
        seconds["n"] = spec["token_cells"] if order == "tokenize" else len(found)
        print(json.dumps(seconds), file=reply, flush=True)
    gpu = torch.cuda.max_memory_allocated() / 2**20 if spec["device"] == "cuda" else None
    last = {"peak_rss_mb": peak_mb(), "peak_gpu_mb": gpu}
    if spec["side"] == "ours":
        last["accuracy"] = [side.compared_with(*reference) for reference in spec["references"]]
        found, flop = operations(side.forward)
        last |= {
            "flop_per_cell": flop / len(found),
            "fastest_product": fastest_product(spec["device"], spec["precision"]),
        }
    print(json.dumps(last), file=reply, flush=True)


def main() -> None:
    """Read the specification from the first line of stdin; replies go to the first stdout, prints of official code to
    stderr.
    """
    reply = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(json.loads(sys.stdin.readline()), reply)


if __name__ == "__main__":
    main()
