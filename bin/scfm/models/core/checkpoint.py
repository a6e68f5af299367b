"""Strict reading of checkpoints: every tensor that is used must be there with its shape, and nothing is executed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.errors import ScfmError
from scfm.models.core.tensors import read_tensors
from scfm.text import did_you_mean, listing

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

#: a dimension of any size in :meth:`Checkpoint.take`
ANY = -1


class Checkpoint:
    """Tensors of a checkpoint by name, with a record of which were used.

    Parameters
    ----------
    path
        File, for the error sentences.
    tensors
        Tensor by name.
    """

    is_random = False

    def __init__(self, path: Path | str, tensors: Mapping[str, "torch.Tensor"]) -> None:
        self.path = Path(path)
        self._tensors = dict(tensors)
        self.used: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    @property
    def names(self) -> list[str]:
        """All names in the file."""
        return list(self._tensors)

    def shape(self, name: str, n_axes: int = 2) -> tuple[int, ...]:
        """Return the shape of a tensor that must be there, with this number of axes."""
        found = tuple(self._need(name).shape)
        _check_shape(self.path, name, found, (ANY,) * n_axes)
        return found

    def _need(self, name: str) -> "torch.Tensor":
        if name not in self._tensors:
            raise ScfmError(
                f"{self.path}: the tensor '{name}' is missing ({len(self._tensors)} others are"
                f" there).{did_you_mean(name, self._tensors)} The file is not a checkpoint of this model, or of another"
                " version of it."
            )
        _check_numbers(self.path, name, self._tensors[name])
        return self._tensors[name]

    def take(self, name: str, *shape: int, init: float | str | None = None) -> "torch.Tensor":
        """Return a tensor as float32.

        Parameters
        ----------
        name
            Name in the file (after renaming).
        shape
            Expected shape; ``ANY`` stands for any size of that dimension.
        init
            Used for random weights only (``--random_init``): a number = normal with that standard deviation, ``zeros``,
            ``ones``, ``file`` = not a trained weight, take it from the file; None = by name and shape, see
            :class:`RandomCheckpoint`.

        Raises
        ------
        ScfmError
            The tensor is missing, has another shape, or holds values that are not finite.
        """
        import torch

        tensor = self._need(name)
        _check_shape(self.path, name, tuple(tensor.shape), shape)
        self.used.add(name)
        tensor = tensor.detach().to(torch.float32)
        if not bool(torch.isfinite(tensor).all()):
            raise ScfmError(
                f"{self.path}: the tensor '{name}' holds values that are not finite. The file is damaged; get it again."
            )
        return tensor

    def take_rows(self, name: str, rows: np.ndarray, *shape: int) -> "torch.Tensor":
        """Return some rows of a large table as float32; the others are not read from disk (memory-mapped files).

        Like ``take(..., init="file")``: a table of which only rows are used is data that the model was given, so random
        weights keep it.

        Parameters
        ----------
        name, shape
            As in :meth:`take`.
        rows
            Rows, shape (n,).
        """
        import torch

        tensor = self._need(name)
        _check_shape(self.path, name, tuple(tensor.shape), shape)
        self.used.add(name)
        part = tensor.detach()[torch.from_numpy(np.asarray(rows, dtype=np.int64))].to(torch.float32)
        if not bool(torch.isfinite(part).all()):
            raise ScfmError(
                f"{self.path}: the tensor '{name}' holds values that are not finite. The file is damaged; get it again."
            )
        return part

    def unused(self, ignore: Iterable[str] = ()) -> list[str]:
        """Return the names that were not used, without those that start with one of ``ignore`` (known heads)."""
        prefixes = tuple(ignore)
        return sorted(n for n in self._tensors if n not in self.used and not n.startswith(prefixes or ("\0",)))


def _check_numbers(path: Path, name: str, tensor: "torch.Tensor") -> None:
    """Refuse tensors that are no weights as a model was trained with: complex, quantised or of single bytes."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_complex() or tensor.is_quantized or (tensor.element_size() < 2):  # bytes of half
        raise ScfmError(
            f"{path}: the tensor '{name}' holds {kind} values; weights are floating-point numbers of 16 bits or more."
            " It may be a quantised copy of the model: get the official file."
        )


class RandomCheckpoint(Checkpoint):
    """Seeded random weights with the names and shapes of a checkpoint: the control for what pretraining adds.

    A tensor depends on the seed and its name only. By default biases are 0, other vectors 1 (the gains of norms), and
    matrices uniform within +-1/sqrt(fan-in), PyTorch's rule for a linear layer.

    Parameters
    ----------
    path
        File, for the error sentences; need not exist.
    tensors
        Tensors of the file, for shapes only (and for ``init="file"``); empty when the file is absent.
    seed
        Seed of the weights.
    """

    is_random = True

    def __init__(self, path: Path | str, tensors: Mapping[str, "torch.Tensor"], seed: int) -> None:
        super().__init__(path, tensors)
        self.seed = seed

    def take(self, name: str, *shape: int, init: float | str | None = None) -> "torch.Tensor":
        import torch

        if init == "file":
            return super().take(name, *shape)
        if name in self._tensors:
            _check_shape(self.path, name, tuple(self._tensors[name].shape), shape)
            shape = tuple(self._tensors[name].shape)
            self.used.add(name)
        elif ANY in shape:
            raise ScfmError(
                f"{self.path}: needed for the size of '{name}', also for random weights, but the file or tensor is"
                " absent."
            )
        if init is None:
            init = _usual_init(name, shape)
        if init in ("zeros", "ones"):
            return torch.full(shape, 0.0 if init == "zeros" else 1.0)
        key = hashlib.blake2b(f"{self.seed}\x1f{name}".encode(), digest_size=16).digest()
        rng = np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype=np.uint64)))
        if isinstance(init, str):  # "uniform"
            bound = float(np.prod(shape[1:])) ** -0.5
            return torch.from_numpy(rng.random(shape, dtype=np.float32)).mul_(2 * bound).sub_(bound)
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).mul_(init)


def _usual_init(name: str, shape: tuple[int, ...]) -> str:
    if "bias" in name.rsplit(".", 1)[-1]:
        return "zeros"
    return "ones" if len(shape) < 2 else "uniform"


def _check_shape(path: Path, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    fits = len(found) == len(expected) and all(e in (ANY, f) for f, e in zip(found, expected, strict=True))
    if not fits:
        wanted = " x ".join("any" if e == ANY else str(e) for e in expected)
        raise ScfmError(
            f"{path}: the tensor '{name}' has shape {' x '.join(map(str, found)) or 'scalar'}, expected {wanted}. "
            "Weights, configuration and vocabulary are not of the same model."
        )


def open_checkpoint(
    path: Path | str,
    *,
    select: Callable[[Any], Mapping[str, Any]] | None = None,
    rename: Callable[[str], str] | None = None,
) -> Checkpoint:
    """Open a checkpoint.

    Parameters
    ----------
    path
        ``.safetensors``, ``.bin``, ``.pt``, ``.ckpt``, ``.torch`` ...
    select
        Picks the state dict out of the file's content (e.g. ``content["state_dict"]``); a KeyError becomes a sentence.
    rename
        Maps names of the file to the names the model asks for; two that fall together are an error.
    """
    import torch

    content = read_tensors(path)
    if select is not None:
        try:
            content = select(content)
        except (KeyError, TypeError, IndexError) as error:
            if not isinstance(content, Mapping):
                raise ScfmError(f"{path}: holds a {type(content).__name__}, expected entries by name.") from error
            raise ScfmError(f"{path}: the entry {error} is missing; the file holds {listing(content)}.") from error
    if not isinstance(content, Mapping):
        raise ScfmError(f"{path}: holds a {type(content).__name__}, expected tensors by name.")
    tensors: dict[str, torch.Tensor] = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            continue
        new = rename(name) if rename else name
        if new in tensors:
            raise ScfmError(f"{path}: two tensors would both be '{new}' (one of them is '{name}').")
        tensors[new] = value
    return Checkpoint(path, tensors)


def random_checkpoint(path: Path | str, seed: int, **how: Any) -> RandomCheckpoint:
    """Return random weights for the checkpoint at ``path``; where the file exists, its shapes are used (see
    :func:`open_checkpoint`).
    """
    tensors: Mapping[str, Any] = {}
    if Path(path).is_file():
        tensors = open_checkpoint(path, **how)._tensors
    return RandomCheckpoint(path, tensors, seed)
