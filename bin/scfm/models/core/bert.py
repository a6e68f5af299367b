"""BERT encoder as the transformers library stores it: shared by the models that are one (Geneformer, GeneCompass,
scCello).

Post-norm layers, absolute positions, biases everywhere, no pooler and no head. What a token is, and what is read at the
end, is the model's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.io.tables import read_json
from scfm.models.core.config import check_depth, whole_numbers
from scfm.models.core.pickles import require_file
from scfm.text import did_you_mean, listing

if TYPE_CHECKING:
    import torch

    from scfm.models.core.base import EmbeddingModel
    from scfm.models.core.blocks import Layer
    from scfm.models.core.checkpoint import Checkpoint
    from scfm.models.core.segments import Segments, Some

_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "vocab_size",
)


@dataclass(frozen=True)
class BertConfig:
    """What ``config.json`` says about the architecture; other keys of the file are left alone."""

    path: Path
    width: int
    n_layers: int
    heads: int
    inner: int
    n_positions: int
    vocab_size: int
    eps: float
    activation: str
    init: float


def read_bert_config(path: Path | str) -> BertConfig:
    """Read ``config.json``; an architecture that this code does not compute is an error."""
    path = require_file(path)
    content = read_json(path)
    width, n_layers, heads, inner, n_positions, vocab_size = whole_numbers(content, dict.fromkeys(_SIZES, 1), path)
    if width % heads:
        raise ScfmError(f"{path}: hidden_size {width} is not a multiple of num_attention_heads {heads}.")
    for key, known in (
        ("model_type", ("bert",)),
        ("position_embedding_type", ("absolute",)),
        ("hidden_act", ("relu", "gelu")),
    ):
        if content.get(key, known[0]) not in known:
            raise ScfmError(
                f"{path}: {key} is '{content[key]}'; only {' and '.join(known)} can be computed here. Is it a"
                " checkpoint of another model?"
            )
    if "hidden_act" not in content:
        raise ScfmError(f"{path}: hidden_act is missing; expected relu or gelu.")
    eps, init = (content.get(key, usual) for key, usual in (("layer_norm_eps", 1e-12), ("initializer_range", 0.02)))
    if not all(isinstance(value, (int, float)) and 0 <= value < 1 for value in (eps, init)):
        raise ScfmError(
            f"{path}: layer_norm_eps and initializer_range must be numbers from 0 to 1; found {eps!r} and {init!r}."
        )
    return BertConfig(
        path, width, n_layers, heads, inner, n_positions, vocab_size, float(eps), content["hidden_act"], float(init)
    )


def find_model_folder(weights: Path, release: str, none_there: str) -> Path:
    """Return the folder with ``config.json``: ``release``, else the top folder itself, else the only model below it.

    Parameters
    ----------
    weights
        The folder of ``--weights``.
    release
        Name of a folder in it; may be empty.
    none_there
        What to say where there is no model.
    """
    names = sorted(path.parent.name for path in weights.glob("*/config.json"))
    if release:
        if not (weights / release / "config.json").is_file():
            raise ScfmError(
                f"{weights / release}: there is no model (config.json) of that name (setting"
                f" release).{did_you_mean(release, names)} {weights} holds {listing(names, limit=10) or 'none'}."
            )
        return weights / release
    if (weights / "config.json").is_file():
        return weights
    if len(names) == 1:
        return weights / names[0]
    if names:
        raise ScfmError(
            f"{weights}: holds several models ({listing(names, limit=10)}). Name one: --set release={names[0]}."
        )
    raise ScfmError(f"{weights}: {none_there}")


def weights_file(folder: Path, usual: str = "model.safetensors") -> Path:
    """Return the weights in a folder written by transformers: ``usual``, else ``model.safetensors`` or
    ``pytorch_model.bin``.
    """
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        raise ScfmError(
            f"{adapter}: this is a LoRA adapter, not a whole model. Merge it into its base model (merge_and_unload),"
            " save that and use it."
        )
    paths = [folder / name for name in (usual, "model.safetensors", "pytorch_model.bin")]
    return next((path for path in paths if path.is_file()), paths[0])


def longest_sequence(model: "EmbeddingModel", asked: int | None, n_positions: int, *, shortest: int) -> int:
    """Return the longest sequence of a run: as asked for, at most the positions of the model (with a warning), None =
    these.
    """
    asked = n_positions if asked is None else asked
    if asked < shortest:
        raise ScfmError(
            f"{model.name}: setting max_length={asked} leaves no room for a gene; expected at least {shortest}."
        )
    if asked > n_positions:
        model.warn("W-MOD-15", n_positions=n_positions, values={"max_length": asked})
    return min(asked, n_positions)


@dataclass(frozen=True)
class Embeddings:
    """Input embeddings: LayerNorm(word + position), summed in float32; what every token carries is folded into the
    positions.

    Attributes
    ----------
    words
        (vocab_size, width), float32.
    positions
        (n_positions, width), float32, position + constants.
    norm
        Final layer norm.
    """

    words: "torch.Tensor"
    positions: "torch.Tensor"
    norm: Callable[["torch.Tensor"], "torch.Tensor"]

    def __call__(self, ids: "torch.Tensor", positions: "torch.Tensor") -> "torch.Tensor":
        """Return the states before the first layer, (n_tokens,) twice -> (n_tokens, width), float32."""
        return self.finish(self.words[ids], positions)

    def finish(self, words: "torch.Tensor", positions: "torch.Tensor") -> "torch.Tensor":
        """Add positions to given word vectors (changed in place) and norm the sum."""
        return self.norm(words.add_(self.positions[positions]))


def read_embeddings(
    checkpoint: "Checkpoint",
    config: BertConfig,
    place: Callable,
    *,
    constants: Sequence[tuple[str, int]],
    prefix: str = "bert.embeddings.",
) -> Embeddings:
    """Read the input embeddings.

    Parameters
    ----------
    checkpoint, config
        Open checkpoint and its architecture.
    place
        :meth:`scfm.models.core.base.EmbeddingModel.place`.
    constants
        Tables (name, rows) whose row 0 is part of every token, such as ``("token_type_embeddings", 2)``.
    prefix
        Text in front of the names.
    """
    from scfm.models.core.linear import Norm

    def table(name: str, rows: int) -> "torch.Tensor":
        return checkpoint.take(f"{prefix}{name}.weight", rows, config.width, init=config.init)

    positions = table("position_embeddings", config.n_positions)
    for name, rows in constants:
        positions = positions + table(name, rows)[0]
    norm = (
        place(checkpoint.take(f"{prefix}LayerNorm.{part}", config.width), is_norm=True) for part in ("weight", "bias")
    )
    return Embeddings(
        place(table("word_embeddings", config.vocab_size), is_norm=True),
        place(positions, is_norm=True),
        Norm(*norm, config.eps),
    )


@dataclass(frozen=True)
class BertEncoder:
    """The layers of a BERT; see :func:`read_encoder`."""

    layers: "tuple[Layer, ...]"
    heads: int
    activation: str
    dtype: "torch.dtype"

    def __call__(
        self, x: "torch.Tensor", segments: "Segments", *, read: "Some | None" = None, keys: "Some | None" = None
    ) -> "torch.Tensor":
        """Run the layers on a packed batch.

        Parameters
        ----------
        x
            States before the first layer, (n_tokens, width).
        segments
            Limits of the cells.
        read
            Rows that are read at the end; the last layer is computed for these only. None = all.
        keys
            Rows that are attended to; the others are padding that is computed and read. None = all.

        Returns
        -------
        States after the last layer (after the embedding where there is no layer), (n_tokens or len(read.index), width).
        """
        from scfm.models.core.blocks import post_norm_layer

        x = x.to(self.dtype)
        if not self.layers:
            return x if read is None else x[read.index]
        how = {"heads": self.heads, "activation": self.activation, "keys": keys}
        for layer in self.layers[:-1]:
            x = post_norm_layer(x, layer, segments, **how)
        return post_norm_layer(x, self.layers[-1], segments, read=read, fold=True, **how)


def read_encoder(
    checkpoint: "Checkpoint",
    config: BertConfig,
    place: Callable,
    dtype: "torch.dtype",
    *,
    depth: int | None = None,
    prefix: str = "bert.encoder.layer.",
) -> BertEncoder:
    """Read the first ``depth`` layers (None = all); what lies above them is not read from the file."""
    from scfm.models.core.blocks import BERT_NAMES, read_layer

    check_depth(checkpoint, prefix, config.n_layers, config.path)
    layers = (
        read_layer(
            checkpoint,
            f"{prefix}{i}.",
            BERT_NAMES,
            width=config.width,
            inner=config.inner,
            eps=config.eps,
            place=place,
            init=config.init,
        )
        for i in range(config.n_layers if depth is None else depth)
    )
    return BertEncoder(tuple(layers), config.heads, config.activation, dtype)
