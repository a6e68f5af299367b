"""Streaming cells through a model: chunks, batches by token budget, rows by cell id, checks, time and memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.errors import ResourceError, ScfmError
from scfm.models.core.batch import Batch
from scfm.models.core.count_checks import check_counts
from scfm.models.core.genes import check_overlap
from scfm.models.core.shards import no_row_warning
from scfm.models.core.tokens import Tokens, plan_batches
from scfm.task.resources import Stopwatch
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from scfm.models.core.base import EmbeddingModel
    from scfm.models.core.reader import Chunk, Counts, Scan

log = logging.getLogger(__name__)

#: padded tokens per batch where the user gives none. On a GPU in float32 fewer are faster, as its attention is padded;
#: docs/performance.md has time and memory by number
DEFAULT_BATCH_TOKENS = {
    ("cpu", "fp32"): 8192,
    ("cpu", "bf16"): 8192,
    ("cuda", "fp32"): 32768,
    ("cuda", "bf16"): 131072,
}
#: cells tokenised at once
TOKEN_BLOCK = 128


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is cut up; none of it changes a row (beyond the rounding of the last bits).

    Attributes
    ----------
    batch_tokens
        Padded tokens per batch; None = by device and precision.
    chunk_cells
        Cells read and tokenised at once.
    min_gene_overlap
        Smallest accepted share of the detected genes that are in the vocabulary, 0 to 1.
    """

    batch_tokens: int | None = None
    chunk_cells: int = 1024
    min_gene_overlap: float = 0.2


@dataclass
class Part:
    """Embedded cells: ids, rows (n, n_dims) float32, and which cells got none and why."""

    cell_ids: np.ndarray
    embedding: np.ndarray
    not_embedded: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Report:
    """Facts of a run, filled while it streams; complete when the stream is exhausted."""

    cells_in: int = 0
    cells_out: int = 0
    seconds: float = 0.0
    not_embedded: list[tuple[str, str]] = field(default_factory=list)
    batch_tokens: int = 0
    genes: dict[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return what a sidecar has beyond the fields of every embedding."""
        return {
            "not_embedded": [{"cell_id": c, "reason": r} for c, r in self.not_embedded],
            "batch_tokens": self.batch_tokens,
            **self.genes,
        }


class Runner:
    """Runs batches of a model and keeps the token budget, which halves when a GPU is out of memory."""

    def __init__(self, model: "EmbeddingModel", options: RunOptions) -> None:
        self.model = model
        self.options = options
        self.budget = options.batch_tokens or DEFAULT_BATCH_TOKENS[model.device.type, model.precision]
        if self.budget < 1 or options.chunk_cells < 1:
            raise ScfmError("batch_tokens and chunk_cells must be at least 1.")

    def chunks(self, counts: "Counts") -> Iterator[tuple["Chunk", Tokens]]:
        """Yield chunks with their tokens; on a GPU the next chunk is read and tokenised meanwhile."""
        steps = ((chunk, self.tokenize(chunk)) for chunk in counts.chunks(self.options.chunk_cells))
        if self.model.device.type == "cpu":
            yield from steps
            return
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(next, steps, None)
            while (ready := pending.result()) is not None:
                pending = pool.submit(next, steps, None)
                yield ready

    def tokenize(self, chunk: "Chunk") -> Tokens:
        """Tokenise a chunk in blocks whose arrays stay in the processor's cache."""
        return Tokens.join([self.model.tokenize(block) for block in chunk.blocks(TOKEN_BLOCK)])

    def embed_chunk(self, chunk: "Chunk", tokens: Tokens) -> Part:
        """Embed the cells of a chunk that have tokens, in batches of similar length; rows keep the order of the
        chunk.
        """
        reasons = tokens.not_embedded()
        rows = np.setdiff1d(np.arange(len(tokens)), np.fromiter(reasons, dtype=np.int64, count=len(reasons)))
        values = np.empty((len(tokens), self.model.n_dims), dtype=np.float32)
        for batch_rows, batch_values in self.run_batches(tokens, rows):
            values[batch_rows] = batch_values
        return Part(chunk.cell_ids[rows], values[rows], [(str(chunk.cell_ids[i]), reasons[i]) for i in sorted(reasons)])

    def run_batches(self, tokens: Tokens, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (rows, values) batch by batch; out of GPU memory halves the budget and goes on with what is left.

        A batch is begun before the values of the one before it are fetched, so that a GPU does not wait for us.
        """
        import torch

        todo = plan_batches(tokens.lengths, rows, self.budget)
        begun: tuple[np.ndarray, torch.Tensor] | None = None
        while todo:
            try:
                following = todo[0], self.begin_batch(tokens, todo[0])
            except torch.cuda.OutOfMemoryError as error:
                todo = self._with_less(tokens, todo, error)
                continue
            todo.pop(0)
            if begun is not None:
                yield begun[0], self.fetch(*begun)
            begun = following
        if begun is not None:
            yield begun[0], self.fetch(*begun)

    def _with_less(self, tokens: Tokens, todo: list[np.ndarray], error: Exception) -> list[np.ndarray]:
        """Halve the budget after the first of the batches did not fit; return the batches of what is left."""
        import torch

        longest, n = int(tokens.lengths[todo[0]].max()), len(todo[0])
        if n == 1:
            raise ResourceError(
                f"The GPU has too little memory for a single cell of {plural(longest, 'token')}: {error}"
            ) from error
        self.budget = max(1, min(self.budget, longest * n) // 2)
        log.warning("out of GPU memory: going on with at most %d tokens per batch", self.budget)
        torch.cuda.empty_cache()
        return plan_batches(tokens.lengths, np.concatenate(todo), self.budget)

    def begin_batch(self, tokens: Tokens, rows: np.ndarray) -> "torch.Tensor":
        """Return the rows of one batch, shape (len(rows), n_dims), float32; a GPU may still be computing them."""
        import torch

        with torch.inference_mode():
            return self.model.forward(to_batch(tokens.take(rows), self.model.device)).float()

    def fetch(self, rows: np.ndarray, out: "torch.Tensor") -> np.ndarray:
        """Return the rows of a batch that was begun, as an array."""
        values = out.cpu().numpy()
        if values.shape != (len(rows), self.model.n_dims):
            raise RuntimeError(
                f"{self.model.name}: forward gave {values.shape}, expected {(len(rows), self.model.n_dims)}"
            )
        if not np.isfinite(values).all():
            raise ScfmError(
                f"{self.model.name}: the embedding of {plural(int((~np.isfinite(values)).any(1).sum()), 'cell')} is not"
                " finite. Damaged weights, or counts of an absurd size?"
            )
        return values


def to_batch(tokens: Tokens, device: "torch.device | str") -> Batch:
    """Turn tokens into tensors on a device."""
    import torch

    from scfm.models.core.segments import Segments, on_device

    def tensor(array: np.ndarray) -> torch.Tensor:
        kind = np.int64 if array.dtype.kind in "iu" else np.float32 if array.dtype.kind == "f" else array.dtype
        return on_device(torch.from_numpy(np.ascontiguousarray(array, dtype=kind)), device)

    return Batch(
        Segments(tokens.lengths.tolist(), device),
        {k: tensor(v) for k, v in tokens.fields.items()},
        {k: tensor(v) for k, v in tokens.cells.items()},
    )


def prepare(model: "EmbeddingModel", counts: "Counts", options: RunOptions) -> dict[str, Any]:
    """Check the counts, map the genes and let the model look at the source; return the facts about the genes."""
    scan = counts.scan()
    check_counts(model, counts, scan)
    column = model.gene_column(counts)
    names = counts.gene_names(column)
    model.genes = model.map_genes(names, scan.cells_per_gene)
    share = check_overlap(
        model.genes,
        names,
        scan.detected,
        minimum=options.min_gene_overlap,
        model=model.name,
        gene_ids=model.gene_ids,
        column=column,
        alternatives=_Alternatives(model, counts, scan, column),
    )
    if share < 0.5:
        model.warn("W-MOD-01", model=model.name, values={"gene_overlap": round(share, 4)})
    model.prepare(counts)
    return dict(model.genes.report)


class _Alternatives(dict):
    """Overlap that other columns of var would give; computed only when an error asks for it."""

    def __init__(self, model: "EmbeddingModel", counts: "Counts", scan: "Scan", column: str) -> None:
        super().__init__()
        self._ask = (model, counts, scan, column)

    def __iter__(self) -> Iterator[str]:
        model, counts, scan, used = self._ask
        for column in ("index", *map(str, counts.var.columns)):
            if column == used or (column != "index" and counts.var[column].dtype.kind in "biuf"):
                continue
            known = model.map_genes(counts.gene_names(column), scan.cells_per_gene).known
            self[column] = float((known & scan.detected).sum() / max(1, scan.detected.sum()))
        return iter(list(self.keys()))


def embed_stream(model: "EmbeddingModel", counts: "Counts", options: RunOptions, report: Report) -> Iterator[Part]:
    """Embed a source part by part; ``report`` is complete when the iterator is exhausted."""
    watch = Stopwatch()
    report.cells_in = counts.n_cells
    report.genes = prepare(model, counts, options)
    runner = Runner(model, options)
    for part in model.stream(counts, runner):
        report.cells_out += len(part.cell_ids)
        report.not_embedded += part.not_embedded
        yield part
    report.batch_tokens, report.seconds = runner.budget, watch.seconds
    if not report.cells_out and counts.n_cells == len(counts.cell_ids):  # a shard may be empty, the whole may not
        raise ScfmError(
            f"{counts.name}: none of {plural(counts.n_cells, 'cell')} could be embedded:"
            f" {report.not_embedded[0][1] if report.not_embedded else 'no cells'}."
        )
    if report.not_embedded:
        model.messages.append(no_row_warning(report.not_embedded, method=model.name))


def embed_frame(model: "EmbeddingModel", counts: "Counts", **options: Any) -> "pd.DataFrame":
    """Embed a source into a table in memory, rows in the order of the source; see :meth:`EmbeddingModel.embed`."""
    import pandas as pd

    report = Report()
    parts = list(embed_stream(model, counts, RunOptions(**options), report))
    frame = pd.DataFrame(
        np.concatenate([p.embedding for p in parts]),
        index=pd.Index(np.concatenate([p.cell_ids for p in parts]), name="cell_id"),
        columns=[f"dim_{j}" for j in range(model.n_dims)],
    )
    frame = frame.loc[[c for c in counts.cell_ids[counts.rows] if c in frame.index]]
    frame.attrs["report"] = report.facts() | model.facts() | {"warnings": model.messages}
    return frame
