"""Tensors of weights files: safetensors and PyTorch files, read without running code from them."""

from __future__ import annotations

import errno
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.errors import ScfmError
from scfm.io.declared import check_declared
from scfm.models.core.pickles import require_file

if TYPE_CHECKING:
    pass


def read_tensors(path: Path | str) -> Any:
    """Read the content of a ``.safetensors`` file or of one written by ``torch.save``, data only.

    Returns
    -------
    Tensor by name, or whatever data structure ``torch.save`` was given. Tensors are memory-mapped where the format
    allows it.

    Raises
    ------
    ScfmError
        Missing, cut short, damaged, a Git LFS pointer, or holding anything but data; nothing is executed.
    """
    path = require_file(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_torch(path)


def _read_safetensors(path: Path) -> dict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise ScfmError(_damaged(path, error)) from error


def _read_torch(path: Path) -> Any:
    import pickle

    import torch

    is_zip = zipfile.is_zipfile(path)
    try:
        with torch.serialization.safe_globals(_safe_numpy()):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        text = str(error)
        if "GLOBAL" in text or "Unsupported" in text or "global" in text:
            raise ScfmError(
                f"{path}: the checkpoint refers to code or to types that are not data ({_global_of(text)}). Nothing in"
                " it was executed; get the file again from its official source."
            ) from error
        raise ScfmError(_damaged(path, error)) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # a lack of memory or disk, not an error of the file
        raise ScfmError(_damaged(path, error)) from error
    _check_sizes(content, path)
    return content


def _check_sizes(content: Any, path: Path) -> None:
    """Refuse tensors that repeat a few stored values to a size that their file can't hold (a stride of 0)."""
    import torch

    if isinstance(content, torch.Tensor):
        check_declared(content.numel() * content.element_size(), path.stat().st_size, f"{path}: a tensor")
    elif isinstance(content, dict):
        for value in content.values():
            _check_sizes(value, path)
    elif isinstance(content, (list, tuple)):
        for value in content:
            _check_sizes(value, path)


def _global_of(text: str) -> str:
    """Pick the name of the refused global out of PyTorch's long message."""
    import re

    found = re.search(r"GLOBAL ([\w.]+)", text) or re.search(r"[Uu]nsupported (?:global|class)[^\w]*([\w.]+)", text)
    return found.group(1) if found else "name not given"


def _safe_numpy() -> list:
    """NumPy scalars and arrays under the names of NumPy 1 and 2: some official files hold them beside the tensors."""
    core = np._core.multiarray
    names: list = [np.dtype, np.ndarray]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        names += [(core.scalar, f"{module}.scalar"), (core._reconstruct, f"{module}._reconstruct")]
    kinds = [
        getattr(np.dtypes, n) for n in dir(np.dtypes) if n.endswith("DType") and n not in {"ObjectDType", "VoidDType"}
    ]
    return names + list(dict.fromkeys(kinds))


def _damaged(path: Path, error: Exception) -> str:
    first = " ".join(str(error).split())[:160]
    return (
        f"{path}: the file is cut short or damaged ({path.stat().st_size:,} bytes; {first}). Compare its size and"
        " checksum, download it again."
    )
