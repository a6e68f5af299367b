"""UCE (Rosen et al., bioRxiv 2023, doi:10.1101/2023.11.28.568918): inference, written from ``docs/models/uce.md``.

A cell is a sentence: ``<cls>``, then chromosome by chromosome the genes of a random sample of its expressed genes,
ordered by their place in the genome. A gene's vector comes from its protein (ESM2), so any species can be embedded. The
row of a cell is the decoded last state of ``<cls>``, of unit length. The gene tables and the sampler are in
:mod:`scfm.models.uce.genes` and :mod:`scfm.models.uce.sentences`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.errors import ScfmError
from scfm.keyed import cell_keys
from scfm.models.core import genes, tokens
from scfm.models.core.runner import Part
from scfm.models.uce.genes import find_file, read_gene_tokens, read_positions
from scfm.models.uce.network import UCENetwork
from scfm.models.uce.sentences import CLS, END, PAD, Genome, LegacyStream, joined, keyed_sentences, pad_batches, weigh
from scfm.models.uce.settings import UCESettings
from scfm.text import plural

if TYPE_CHECKING:
    from scfm.models.core.checkpoint import Checkpoint
    from scfm.models.core.reader import Chunk, Counts
    from scfm.models.core.runner import Runner

#: the official filter: genes in fewer cells go first, then cells with fewer of the remaining genes
MIN_CELLS, MIN_GENES = 10, 25
#: checkpoints that are looked for, in this order, where none is named
CHECKPOINTS = ("4layer_model.torch", "33l_8ep_1024t_1280.torch")
#: token vectors projected at once
_PROJECT_ROWS = 4096


class UCE(UCENetwork):
    """UCE in its zero-shot use, with 4, 33 or any number of layers."""

    name = "uce"
    Settings = UCESettings
    gene_ids = "symbol"
    ignored_tensors = ("binary_decoder.", "gene_embedding_layer.")

    def load(self) -> None:
        """Read the checkpoint, the species' gene tokens and their places in the genome."""
        s = self.settings
        for key in ("sample_size", "pad_length", "batch_size", "heads"):
            if getattr(s, key) < 1:
                raise ScfmError(f"uce: setting {key}={getattr(s, key)} must be at least 1.")
        if not 0 <= s.numpy_seed < 2**32:
            raise ScfmError(f"uce: setting numpy_seed={s.numpy_seed} must be from 0 to 4,294,967,295.")
        if s.sample_size + 3 > s.pad_length:
            raise ScfmError(
                f"uce: setting pad_length={s.pad_length} cannot hold a sentence of sample_size={s.sample_size} genes"
                f" with one chromosome; expected at least {s.sample_size + 3}."
            )
        # a row depends on other cells through the padding, or through the one stream of random numbers
        self.cells_apart = s.pad_mode == "masked" and s.rng == "keyed"
        path = self._checkpoint_path()
        checkpoint = self.open(path, rename=lambda name: name.removeprefix("module."))
        self._read_network(checkpoint)
        self.gene_tokens = read_gene_tokens(self.weights, s.species)
        self.symbol_of = {token: symbol for symbol, token in self.gene_tokens.items()}
        self.positions = read_positions(self.weights, s.species)
        self._choose_table(checkpoint)

    def _checkpoint_path(self) -> Path:
        if self.settings.checkpoint:
            return self.weights / self.settings.checkpoint
        places = [find_file(self.weights, name) for name in CHECKPOINTS]
        others = [p for p in places[0].parent.glob("*.torch") if p.name != "all_tokens.torch"]
        return next((p for p in places if p.is_file()), others[0] if len(others) == 1 else places[0])

    def _choose_table(self, checkpoint: "Checkpoint") -> None:
        """Take the checkpoint's token table or the replacing one, and check the gene and chromosome tokens against
        it.
        """
        s = self.settings
        n_rows = checkpoint.shape("pe_embedding.weight")[0]
        self.table, self.table_name, self.table_rows = checkpoint, "pe_embedding.weight", n_rows
        checkpoint.used.add("pe_embedding.weight")
        path = (
            find_file(self.weights, "all_tokens.torch")
            if s.token_table in ("", "checkpoint")
            else self.weights / s.token_table
        )
        if s.token_table not in ("", "checkpoint") or (not s.token_table and path.is_file()):
            other = self.open(
                path, select=lambda content: content if isinstance(content, dict) else {"tokens": content}
            )
            rows = other.shape("tokens")[0]
            # a file without chromosome rows is filled up officially, and then has the checkpoint's number of rows
            if rows not in (n_rows, s.chrom_token_offset):
                self.table, self.table_name, self.table_rows = other, "tokens", rows
                other.used.add("tokens")
            else:
                self.checkpoints.remove(other)
                if s.token_table:
                    self.warn("I-MOD-03", file=path.name, rows=rows)
        lowest, highest = min(self.gene_tokens.values()), max(self.gene_tokens.values())
        codes = {code for code, _ in self.positions.place.values()}
        first, top = (s.chrom_token_offset + code for code in (min(codes), max(codes)))
        shared = sum(first <= token <= top for token in self.gene_tokens.values())
        if min(lowest, s.chrom_token_offset) <= CLS or shared:
            what = (
                f"{plural(shared, 'gene')} of {s.species} would have the tokens {first:,} to {top:,} of its chromosomes"
                if shared
                else f"tokens 0 to {CLS} are the special ones, and the genes of {s.species} begin at {lowest:,}, the"
                f" chromosomes at {s.chrom_token_offset:,}"
            )
            raise ScfmError(
                f"{find_file(self.weights, 'species_offsets.pkl')}: {what}. Do this file and"
                f" chrom_token_offset={s.chrom_token_offset} belong to the same token table?"
            )
        if highest >= self.table_rows or top >= self.table_rows:
            what = (
                f"the genes of {s.species} reach token {highest}"
                if highest >= self.table_rows
                else f"the chromosomes reach token {top}"
            )
            raise ScfmError(
                f"{self.table.path}: the token table has {self.table_rows:,} rows, but {what}. Do species_offsets.pkl,"
                f" species_chrom.csv, chrom_token_offset={s.chrom_token_offset} and the token table belong together?"
            )

    def map_genes(self, names: np.ndarray, cells_per_gene: np.ndarray) -> genes.GeneMap:
        """Match symbols whatever their case; columns of the same symbol all stay, as in the official code."""
        upper = np.array([name.upper() for name in names], dtype=object)
        found = genes.look_up(upper, self.gene_tokens, strip_version=self.settings.strip_version)
        kept = cells_per_gene >= (MIN_CELLS if self.settings.filter else 0)
        places = [
            self.positions.place.get(self.symbol_of[i], (-1, -1)) if i >= 0 else (-1, -1) for i in found.ids.tolist()
        ]
        codes, starts = np.array(places, dtype=np.int64).reshape(-1, 2).T
        found.extra = {"kept": kept, "chromosome": codes, "start": starts}
        found.report["genes_sampled_from"] = int((kept & found.known & (cells_per_gene > 0)).sum())
        return found

    def prepare(self, counts: "Counts") -> None:
        """Order the usable genes along the genome, project their token vectors once, and restart the legacy stream."""
        found, s = self.genes, self.settings
        use = found.known & found.extra["kept"] & counts.scan().detected
        columns = np.flatnonzero(use)
        self.positions.check([self.symbol_of[i] for i in found.ids[columns].tolist()], s.species)
        codes, starts, ids = found.extra["chromosome"][columns], found.extra["start"][columns], found.ids[columns]
        order = np.lexsort((columns, ids, starts, codes))
        self.genome = Genome(columns[order], ids[order], codes[order], starts[order])
        # the legacy stream sums over all mapped genes that the filter keeps, detected or not
        every = np.flatnonzero(found.known & found.extra["kept"])
        self.stream_of_draws = LegacyStream(
            s.numpy_seed, Genome(every, found.ids[every], found.extra["chromosome"][every], found.extra["start"][every])
        )
        self._project(np.unique(np.concatenate([[PAD, END, CLS], ids, codes + s.chrom_token_offset])))
        names = counts.gene_names(self.gene_column(counts))[use]
        if s.species == "human" and genes.species_of(names) == "mouse":
            self.warn("W-MOD-16", gene=names[0])
        if counts.scan().facts.n_fractional:
            self.warn("W-MOD-18")
        if not self.cells_apart and counts.n_cells < len(counts.cell_ids):
            self.warn("W-MOD-17")

    def _project(self, used: np.ndarray) -> None:
        """Compute the model's input vector of each token that can occur: unit length, linear, GELU, layer norm, times
        sqrt(width).
        """
        import torch
        import torch.nn.functional as F

        linear, norm = self.encoder
        table = torch.empty(len(used), self.width, device=self.device)
        with torch.inference_mode():
            for begin in range(0, len(used), _PROJECT_ROWS):
                rows = used[begin : begin + _PROJECT_ROWS]
                vectors = self.table.take_rows(self.table_name, rows, self.table_rows, self.vector_size).to(self.device)
                table[begin : begin + len(rows)] = norm(F.gelu(linear(F.normalize(vectors, dim=1)))) * math.sqrt(
                    self.width
                )
            row_of = torch.zeros(int(used.max()) + 1, dtype=torch.int64)
            row_of[torch.from_numpy(used)] = torch.arange(len(used))
            self.input_table, self.row_of = table, row_of.to(self.device)
            first = self.layers[0].qkv
            self.input_qkv = F.linear(table.to(self.dtype), first.weight)
            self.position_qkv = F.linear(self.position_table.to(self.dtype), first.weight, first.bias)

    # ---- tokens ------------------------------------------------------------------------------------------------------

    def tokenize(self, chunk: "Chunk") -> tokens.Tokens:
        """Sample each cell's sentence (``ids``); cells without a mapped gene, or below the filter, get none."""
        weighted = weigh(chunk.counts, self.genome)
        has = np.concatenate([[0], np.cumsum(np.diff(weighted.running) > 0)])
        n_genes = np.diff(has[weighted.offsets])
        skipped = self._filtered(chunk) if self.settings.filter else {}
        cells = np.setdiff1d(np.flatnonzero(n_genes), np.fromiter(skipped, dtype=np.int64, count=len(skipped)))
        if self.settings.rng == "legacy":
            flat, lengths = self._legacy(chunk, cells)
        else:
            ids = chunk.cell_ids[cells]
            keys = cell_keys(self.seed, ids, stream="uce.genes"), cell_keys(self.seed, ids, stream="uce.chromosomes")
            flat, lengths = keyed_sentences(
                weighted,
                self.genome,
                cells,
                keys,
                sample_size=self.settings.sample_size,
                offset=self.settings.chrom_token_offset,
            )
        limit = min(self.settings.pad_length, len(self.position_table))
        if len(lengths) and lengths.max() > limit:
            raise ScfmError(
                f"uce: the sentence of cell '{chunk.cell_ids[cells[lengths.argmax()]]}' has {lengths.max()} tokens,"
                f" more than {limit} (pad_length={self.settings.pad_length}, {len(self.position_table)} positions in"
                " the checkpoint). Lower sample_size or raise pad_length."
            )
        all_lengths = np.zeros(len(n_genes), dtype=np.int64)
        all_lengths[cells] = lengths
        return tokens.Tokens(tokens.offsets_of(all_lengths), {"ids": flat}, n_genes, skipped=skipped)

    def _filtered(self, chunk: "Chunk") -> dict[int, str]:
        """Return the cells that the official filter drops: row -> reason."""
        counts = chunk.counts
        there = np.concatenate([[0], np.cumsum(self.genes.extra["kept"][counts.indices] & (counts.data != 0))])
        n = np.diff(there[counts.indptr])
        reason = (
            f"fewer than {MIN_GENES} detected genes (of those in at least {MIN_CELLS} cells of the file); filter=false"
            " keeps the cell"
        )
        return {int(i): reason for i in np.flatnonzero(n < MIN_GENES)}

    def _legacy(self, chunk: "Chunk", cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sample from the one stream, cell after cell."""
        mask = np.zeros(len(self.genes.ids), dtype=bool)
        mask[self.stream_of_draws.columns] = True
        rows = tokens.detected(chunk.counts, mask)
        places = np.searchsorted(self.stream_of_draws.columns, rows.columns)
        size, offset = self.settings.sample_size, self.settings.chrom_token_offset
        parts = [
            self.stream_of_draws.sentence(places[a:b], rows.values[a:b], sample_size=size, offset=offset)
            for a, b in zip(rows.offsets[cells].tolist(), rows.offsets[cells + 1].tolist(), strict=True)
        ]
        return np.concatenate([np.zeros(0, np.int32), *parts]), np.array([len(p) for p in parts], dtype=np.int64)

    # ---- running -----------------------------------------------------------------------------------------------------

    def stream(self, counts: "Counts", runner: "Runner") -> Iterator[Part]:
        """Batches of similar length; with ``pad_mode=official`` every cell is padded as its official batch would pad
        it.
        """
        if self.settings.pad_mode == "masked":
            yield from super().stream(counts, runner)
            return
        size = self.settings.batch_size
        ids: np.ndarray = np.zeros(0, dtype=object)
        waiting: tokens.Tokens | None = None
        for chunk, found in runner.chunks(counts):
            reasons = found.not_embedded()
            kept = np.setdiff1d(np.arange(len(found)), np.fromiter(reasons, dtype=np.int64, count=len(reasons)))
            waiting = found.take(kept) if waiting is None else joined(waiting, found.take(kept))
            ids = np.concatenate([ids, chunk.cell_ids[kept]])
            ready = len(ids) // size * size
            values = self._run_padded(waiting.take(np.arange(ready)), runner)
            yield Part(ids[:ready], values, [(str(chunk.cell_ids[i]), reasons[i]) for i in sorted(reasons)])
            waiting, ids = waiting.take(np.arange(ready, len(ids))), ids[ready:]
        if waiting is not None and len(ids):
            yield Part(ids, self._run_padded(waiting, runner))

    def _run_padded(self, found: tokens.Tokens, runner: "Runner") -> np.ndarray:
        """Embed cells that are consecutive in the file, padded by official batches."""
        padded = pad_batches(found, self.settings.batch_size)
        values = np.empty((len(padded), self.n_dims), dtype=np.float32)
        for rows, some in runner.run_batches(padded, np.arange(len(padded))):
            values[rows] = some
        return values

    def facts(self) -> dict[str, Any]:
        """Return what the sidecar tells about this run."""
        return super().facts() | {
            "species": self.settings.species,
            "n_layers": self.n_layers,
            "token_table": f"{self.table.path.name}:{self.table_name}",
        }


MODEL = UCE
