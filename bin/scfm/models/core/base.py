"""The contract of a model: prepare genes -> tokens for a chunk of cells -> forward -> pooled rows by cell id.

A model is one file ``bin/scfm/models/<name>.py`` with ``MODEL = <subclass of EmbeddingModel>``. It says how its files
are read, how gene names become vocabulary entries, how a chunk of cells becomes tokens, and how a packed batch becomes
one row per cell. Streaming, batching, order, cells without genes, checks of the input, time and memory are done once in
:mod:`scfm.models.core.runner`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from scfm.errors import ScfmError
from scfm.models.core.checkpoint import Checkpoint, open_checkpoint, random_checkpoint
from scfm.models.core.genes import GeneMap
from scfm.models.core.pickles import files_read
from scfm.models.core.settings import ModelSettings, make_settings
from scfm.models.core.tokens import Tokens
from scfm.registries.messages import message

if TYPE_CHECKING:
    import anndata
    import pandas as pd
    import torch

    from scfm.models.core.batch import Batch
    from scfm.models.core.reader import Chunk, Counts
    from scfm.models.core.runner import Part, Runner


class EmbeddingModel(ABC):
    """A foundation model that turns counts into one row per cell.

    Parameters
    ----------
    weights
        The model's top folder; settings that name files are relative to it.
    settings
        Instance of :attr:`Settings`, or values by key (texts or typed).
    device
        ``cpu``, ``cuda`` or ``auto`` (a GPU where there is one).
    precision
        ``fp32`` or ``bf16`` (linear layers in bf16; norms and softmax are computed in float32).
    seed
        Seed of everything random: draws of the tokeniser (keyed by cell id) and random weights.
    random_init
        Seeded random weights instead of the trained ones.

    Attributes
    ----------
    n_dims
        Length of an embedding row; set by :meth:`load`.
    genes
        Map of the current input's columns; set by the runner before :meth:`tokenize`.
    read_files
        Files that :meth:`load` read, checkpoints included.
    messages
        Warnings for the sidecar, made by :func:`scfm.registries.messages.message`; add with :meth:`warn`.
    """

    #: name on the command line and of the file
    name: ClassVar[str]
    #: settings class, derived from :class:`~scfm.models.core.settings.ModelSettings`
    Settings: ClassVar[type[ModelSettings]] = ModelSettings
    #: what the vocabulary holds, for the sentences: ``symbol`` or ``ensembl``
    gene_ids: ClassVar[Literal["symbol", "ensembl"]]
    #: whether a model of Ensembl ids also reads gene symbols, by a dictionary of its own
    reads_symbols: ClassVar[bool] = False
    #: what a fractional count is (``fractional=auto``); ``expected`` = the settings announce normalised values
    fractional: ClassVar[Literal["error", "warn", "expected"]] = "error"
    #: False where the row of a cell depends on other cells (CellPLM)
    cells_apart: ClassVar[bool] = True
    #: prefixes of tensors known to be unused (heads): not listed as extras
    ignored_tensors: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        weights: Path | str,
        settings: ModelSettings | Mapping[str, Any] | None = None,
        *,
        device: str = "auto",
        precision: Literal["fp32", "bf16"] = "fp32",
        seed: int = 0,
        random_init: bool = False,
    ) -> None:
        import torch

        self.weights = Path(weights)
        if not self.weights.is_dir():
            raise ScfmError(f"{self.weights}: not a folder. --weights is the top folder of {self.name}'s files.")
        is_typed = isinstance(settings, ModelSettings)
        self.settings: Any = settings if is_typed else make_settings(self.Settings, settings or {}, model=self.name)
        self.device = torch.device(pick_device(device))
        if precision not in ("fp32", "bf16"):
            raise ScfmError(f"precision '{precision}' is not one of fp32, bf16.")
        self.precision = precision
        self.dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        # some images (NVIDIA's) and notebooks let float32 products drop to TF32, which keeps 10 bits of 23
        torch.set_float32_matmul_precision("highest")
        self.seed = seed
        self.random_init = random_init
        self.messages: list[dict] = []
        self.checkpoints: list[Checkpoint] = []
        self.n_dims: int = 0
        self.genes: GeneMap = GeneMap(np.zeros(0, np.int64))
        with torch.inference_mode(), files_read() as self.read_files:
            self.load()

    # ---- what a model writes -----------------------------------------------------------------------------------------

    @abstractmethod
    def load(self) -> None:
        """Read configuration, dictionaries and tensors from ``self.weights``; set ``self.n_dims``.

        Use :meth:`open` for checkpoints, :meth:`place` for tensors, :mod:`scfm.models.core.pickles` for dictionaries;
        every other file goes through :func:`~scfm.models.core.pickles.require_file`, so that its checksum is recorded.
        """

    @abstractmethod
    def map_genes(self, names: np.ndarray, cells_per_gene: np.ndarray) -> GeneMap:
        """Map gene names to the vocabulary.

        Pure: it is also called to try other columns for an error sentence, so what the tokeniser needs goes into the
        result.

        Parameters
        ----------
        names
            Names of all columns (setting ``gene_column``), shape (n_genes,), object.
        cells_per_gene
            Cells of the whole data set in which each gene is detected, shape (n_genes,).
        """

    @abstractmethod
    def tokenize(self, chunk: "Chunk") -> Tokens:
        """Turn a chunk of cells into tokens with ``self.genes``; must not depend on the other cells of the chunk."""

    @abstractmethod
    def forward(self, batch: "Batch") -> "torch.Tensor":
        """Return one row per cell of a batch, shape (n_cells, n_dims)."""

    # ---- what a model may replace ------------------------------------------------------------------------------------

    def gene_column(self, counts: "Counts") -> str:
        """Return the column of ``var`` that names the genes (``index`` = ``var_names``); for models with a rule of
        their own.
        """
        return self.settings.gene_column

    def prepare(self, counts: "Counts") -> None:  # noqa: B027 (an optional hook)
        """Look at the source once before streaming (obs columns, groups ...); ``self.genes`` is set."""

    def stream(self, counts: "Counts", runner: "Runner") -> Iterator["Part"]:
        """Yield embedded parts; replaced by models that group cells in their own way (across cells, in file order)."""
        for chunk in runner.chunks(counts):  # (chunk, tokens)
            yield runner.embed_chunk(*chunk)

    # ---- what a model uses -------------------------------------------------------------------------------------------

    def open(self, path: Path | str, **how: Any) -> Checkpoint:
        """Open a checkpoint strictly, or seeded random weights of its shapes with ``random_init``.

        Keyword arguments as in :func:`scfm.models.core.checkpoint.open_checkpoint`. The file is remembered for
        checksum and extras.
        """
        found = random_checkpoint(path, self.seed, **how) if self.random_init else open_checkpoint(path, **how)
        self.checkpoints.append(found)
        return found

    def place(self, tensor: "torch.Tensor", is_norm: bool = False) -> "torch.Tensor":  # noqa: FBT001, FBT002 (fixed signature of read_layer)
        """Move a tensor to the model's device and dtype; parameters of norms stay float32."""
        return tensor.to(self.device, tensor.dtype if is_norm else self.dtype).contiguous()

    def warn(self, name: str, *, values: Mapping[str, Any] | None = None, **parts: Any) -> None:
        """Add a message to the sidecar, once; arguments as in :func:`scfm.registries.messages.message`."""
        entry = message(name, method=self.name, values=values, **parts)
        if entry not in self.messages:
            self.messages.append(entry)

    def extras(self) -> list[str]:
        """Return names of tensors in the checkpoints that the model has no use for and does not know."""
        return sorted({name for c in self.checkpoints for name in c.unused(self.ignored_tensors)})

    def facts(self) -> dict[str, Any]:
        """Return what the model adds to the sidecar; extend with ``super().facts() | {...}``."""
        return {}

    # ---- for notebooks -----------------------------------------------------------------------------------------------

    def embed(self, adata: "anndata.AnnData | Path | str", **options: Any) -> "pd.DataFrame":
        """Embed an AnnData or an .h5ad file.

        Parameters
        ----------
        adata
            Cells x genes; settings say where counts and gene names are.
        options
            See :class:`scfm.models.core.runner.RunOptions` (``batch_tokens``, ``chunk_cells``, ``min_gene_overlap``).

        Returns
        -------
        Rows by cell id, columns ``dim_0`` ..., float32. Cells that could not be embedded have no row; they are listed,
        with other facts, in ``.attrs["report"]``.
        """
        from scfm.models.core.reader import counts_of, open_counts
        from scfm.models.core.runner import embed_frame

        layer = self.settings.input_layer
        source = open_counts(adata, layer) if isinstance(adata, (str, Path)) else counts_of(adata, layer)
        return embed_frame(self, source, **options)


def pick_device(device: str) -> str:
    """Turn ``auto`` into ``cuda`` or ``cpu``; asking for a GPU where there is none is an error."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda"):
        raise ScfmError(f"device '{device}' is not one of auto, cpu, cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ScfmError("device cuda was asked for, but PyTorch finds no GPU here. Use --device auto or cpu.")
    return device
