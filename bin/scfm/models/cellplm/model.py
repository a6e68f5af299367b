"""CellPLM (Wen et al., ICLR 2024, doi:10.1101/2023.10.03.560734): inference, written from ``docs/models/cellplm.md``.

A cell is one vector, the sum of its genes' embeddings weighted by log1p of the counts; attention runs across cells. The
row of a cell therefore depends on which cells are in its chunk, and on nothing else: not on their order, not on how a
run is cut up.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.errors import ScfmError
from scfm.io.tables import read_json
from scfm.models.cellplm.chunks import Noise, plan_chunks
from scfm.models.cellplm.network import CellPLMNetwork
from scfm.models.cellplm.settings import CellPLMSettings
from scfm.models.core import genes, tokens
from scfm.models.core.config import check_depth, whole_numbers
from scfm.models.core.pickles import require_file
from scfm.models.core.runner import Part, to_batch
from scfm.text import listing, plural

if TYPE_CHECKING:
    import torch

    from scfm.models.cellplm.parts import States
    from scfm.models.core.reader import Chunk, Counts
    from scfm.models.core.runner import Runner

#: the checkpoint of the tutorials and of the paper's benchmark; taken where several are there and none is named
USUAL = "20231027_85M"
_ENDINGS = (".best.ckpt", ".config.json")


class CellPLM(CellPLMNetwork):
    """CellPLM's cell embedding (mean of the latent space)."""

    name = "cellplm"
    Settings = CellPLMSettings
    gene_ids = "ensembl"
    fractional = "warn"  # log-normalised values are what the benchmark of the paper gave it
    cells_apart = False
    ignored_tensors = (
        "embedder.norm0.",
        "embedder.pe_enc.",
        "decoder.",
        "objective.",
        "latent.layers.1.hid_2sigma.",
        "latent.layers.1.inference.y_mu.",
        "latent.layers.1.inference.y_var.",
        "latent.layers.1.inference.inference_qzyx.2.var.",
    )

    def load(self) -> None:
        """Read configuration, gene list and tensors."""
        if self.settings.cells_per_chunk < 0:
            raise ScfmError(
                f"cellplm: setting cells_per_chunk={self.settings.cells_per_chunk} must be 0 (never cut) or more."
            )
        prefix = self._prefix()
        self._read_config(prefix.with_name(prefix.name + ".config.json"))
        checkpoint = self.open(
            prefix.with_name(prefix.name + ".best.ckpt"),
            select=lambda content: content["model_state_dict"],
            rename=lambda name: name.removeprefix("module."),
        )
        check_depth(checkpoint, "encoder.layers.", self.n_layers, self.config_path)
        self._read_network(checkpoint)

    def _prefix(self) -> Path:
        """Find the checkpoint: the path without its ending."""
        named = self.settings.checkpoint
        for ending in _ENDINGS:
            named = named.removesuffix(ending)
        if named:
            if not Path(named).name:
                raise ScfmError(
                    f"cellplm: setting checkpoint={self.settings.checkpoint} names no file; expected the common"
                    f" beginning of <checkpoint>{_ENDINGS[0]} and <checkpoint>{_ENDINGS[1]}."
                )
            places = [self.weights / named, self.weights / "ckpt" / named]
            return next((p for p in places if p.with_name(p.name + ".best.ckpt").is_file()), places[0])
        found = sorted(p for folder in (self.weights, self.weights / "ckpt") for p in folder.glob("*.best.ckpt"))
        usual = [p for p in found if p.name.startswith(USUAL)] or found
        if len(usual) > 1:
            names = [p.relative_to(self.weights).as_posix().removesuffix(".best.ckpt") for p in usual]
            raise ScfmError(
                f"{self.weights}: holds several checkpoints ({listing(names)}); say which: --set checkpoint={names[0]}."
            )
        path = usual[0] if usual else self.weights / f"{USUAL}.best.ckpt"
        return path.with_name(path.name.removesuffix(".best.ckpt"))

    def _read_config(self, path: Path) -> None:
        """Take the architecture from the configuration and refuse what this code does not compute."""
        config = read_json(require_file(path))
        sizes = dict.fromkeys(("enc_hid", "enc_layers", "post_latent_dim", "enc_head"), 1) | {"num_clusters": 0}
        self.width, self.n_layers, self.n_dims, self.heads, self.n_clusters = whole_numbers(
            config, sizes, path, usual={"enc_head": 8, "num_clusters": 0}
        )
        self.config_path, gene_list = path, config.get("gene_list")
        encoder, self.norm_kind, self.latent = (config.get(key) for key in ("enc_mod", "norm", "latent_mod"))
        if not isinstance(gene_list, list) or not gene_list:
            raise ScfmError(f"{path}: needs gene_list, the Ensembl ids of the vocabulary in order, as a list.")
        allowed = {
            "enc_mod": (encoder, ["flowformer"]),
            "norm": (self.norm_kind, ["groupnorm", "layernorm"]),
            "latent_mod": (self.latent, ["vae", "gmvae"]),
        }
        for key, (value, known) in allowed.items():
            if value not in known:
                raise ScfmError(
                    f"{path}: {key} is '{value}'; supported is {' or '.join(known)}, which the released models use."
                )
        if config.get("cat_pe", True):
            raise ScfmError(
                f"{path}: cat_pe is true (absent means true); only false is supported, and nothing else can run"
                " officially."
            )
        for key in ("input_covariate", "dsbn"):
            if config.get(key):
                raise ScfmError(f"{path}: {key} is true; only false is supported, which the released models use.")
        if self.width % self.heads or (self.norm_kind == "groupnorm" and self.width % 4):
            raise ScfmError(
                f"{path}: enc_hid {self.width} must be a multiple of enc_head {self.heads} and, for groupnorm, of 4."
            )
        self.vocabulary = {str(gene): row for row, gene in enumerate(gene_list)}
        if len(self.vocabulary) != len(gene_list):
            raise ScfmError(f"{path}: gene_list holds {plural(len(gene_list) - len(self.vocabulary), 'gene')} twice.")

    # ---- genes and cells ---------------------------------------------------------------------------------------------

    def map_genes(self, names: np.ndarray, cells_per_gene: np.ndarray) -> genes.GeneMap:
        """Match Ensembl ids; of columns of the same gene the first one counts, one that matches as written before a
        stripped one.
        """
        found = genes.look_up(names, self.vocabulary, strip_version=self.settings.strip_version)
        known = np.flatnonzero(found.known)
        as_written = np.fromiter((names[i] in self.vocabulary for i in known), dtype=bool, count=len(known))
        order = known[np.argsort(~as_written, kind="stable")]
        _, first = np.unique(found.ids[order], return_index=True)
        keep = np.zeros(len(names), dtype=bool)
        keep[order[first]] = True
        found.ids[~keep] = -1
        found.report["genes_matched"] = int(keep.sum())
        return found

    def prepare(self, counts: "Counts") -> None:
        """Plan which cells attend to each other, for the whole file, also where only some cells are asked for."""
        self.plan = plan_chunks(counts, self.settings.group_column, self.settings.cells_per_chunk)
        self.noise = Noise(self.seed) if self.latent == "gmvae" and self.settings.latent_draw == "sample" else None
        self.is_fractional = bool(counts.scan().facts.n_fractional)
        asked = np.zeros(len(counts.cell_ids), dtype=bool)
        asked[counts.rows] = True
        computed = sum(len(rows) for rows in self.plan if asked[rows].any())
        if computed > counts.n_cells:
            self.warn("I-MOD-04", n_asked=counts.n_cells, n_computed=computed)

    def tokenize(self, chunk: "Chunk") -> tokens.Tokens:
        """Return rows of the gene table (``ids``) and log1p of the counts (``values``)."""
        rows = tokens.detected(chunk.counts, self.genes.known)
        values = np.log1p(rows.values.astype(np.float32, copy=False))
        return tokens.Tokens(rows.offsets, {"ids": self.genes.ids[rows.columns], "values": values}, rows.lengths)

    # ---- running -----------------------------------------------------------------------------------------------------

    def stream(self, counts: "Counts", runner: "Runner") -> Iterator[Part]:
        """Compute every chunk that holds a cell asked for, whole; cells without genes take part (as officially) and get
        no row.
        """
        import torch

        from scfm.models.cellplm.parts import States, run_layer

        asked = np.zeros(len(counts.cell_ids), dtype=bool)
        asked[counts.rows] = True
        for rows in self.plan:
            uniform = self.noise.uniform(len(rows), self.n_clusters, self.n_dims) if self.noise else None
            if not asked[rows].any():
                continue
            states, has_genes, start = States(len(rows), self.width, self.device), np.zeros(len(rows), dtype=bool), 0
            with torch.inference_mode():
                for chunk in counts.chunks(runner.options.chunk_cells, rows=rows):
                    found = self.tokenize(chunk)
                    states.write(start, self.embed_cells(self.features(to_batch(found, self.device))))
                    has_genes[start : start + len(found)] = found.n_genes > 0
                    start += len(found)
                for layer in self.layers:
                    run_layer(states, layer, self.heads)
            yield from self._read_out(states, counts.cell_ids[rows], has_genes, asked[rows], uniform)

    def _read_out(
        self,
        states: "States",
        cell_ids: np.ndarray,
        has_genes: np.ndarray,
        asked: np.ndarray,
        uniform: "torch.Tensor | None",
    ) -> Iterator[Part]:
        """Yield the rows of a chunk's cells block by block."""
        import torch

        for start, stop in states.blocks():
            part = slice(start, stop)
            with torch.inference_mode():
                values = (
                    self.read_latent(states.read(start, stop), None if uniform is None else uniform[part]).cpu().numpy()
                )
            if not np.isfinite(values).all():
                raise ScfmError(
                    f"{self.name}: the embedding of a chunk of {states.n_cells:,} cells is not finite. Damaged weights,"
                    " or counts of an absurd size?"
                )
            out = asked[part] & has_genes[part]
            missing = [(str(c), tokens.NO_GENES) for c in cell_ids[part][asked[part] & ~has_genes[part]]]
            yield Part(cell_ids[part][out], values[out], missing)

    def facts(self) -> dict[str, Any]:
        """Return what the sidecar tells about this run."""
        sizes = [len(rows) for rows in getattr(self, "plan", [])]
        return super().facts() | {
            "latent": self.latent,
            "chunks": len(sizes),
            "smallest_chunk": min(sizes, default=0),
            "largest_chunk": max(sizes, default=0),
            "input_values": "not counts" if getattr(self, "is_fractional", False) else "counts",
        }


MODEL = CellPLM
