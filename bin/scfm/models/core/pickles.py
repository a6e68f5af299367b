"""Reading pickled dictionaries of models without running anything that they hold."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError

#: the only names a dictionary may refer to: rebuilding NumPy scalars and arrays (also ordered dictionaries and sets,
#: see below)
_ALLOWED = {
    ("multiarray", "scalar"),
    ("multiarray", "_reconstruct"),
    ("numeric", "_frombuffer"),
}


def _find(module: str, name: str) -> Any:
    """Return an allowed global, None for anything else. NumPy 1 wrote ``numpy.core``, NumPy 2 writes
    ``numpy._core``.
    """
    import numpy as np

    if module in {"numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"}:
        part = module.rsplit(".", 1)[1]
        if (part, name) in _ALLOWED:
            return getattr(getattr(np._core, part), name)
    if module == "numpy" and name in {"dtype", "ndarray"}:
        return getattr(np, name)
    if module == "numpy.dtypes" and name.endswith("DType"):
        return getattr(np.dtypes, name, None)
    if (module, name) == ("collections", "OrderedDict"):
        return dict
    if module in {"builtins", "__builtin__"} and name in {"set", "frozenset"}:  # how protocols below 4 store them
        return {"set": set, "frozenset": frozenset}[name]
    if (module, name) == ("_codecs", "encode"):
        return _encode
    return None


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Replace ``_codecs.encode``, which old pickles use to store bytes."""
    if encoding not in {"latin1", "ascii", "utf-8"}:
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode(encoding)


class _DataUnpickler(pickle.Unpickler):
    """Unpickler that accepts data only."""

    def find_class(self, module: str, name: str) -> Any:
        found = _find(module, name)
        if found is None:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is code and not data")
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def load_pickle(path: Path | str) -> Any:
    """Load a pickle of plain data: dicts, lists, numbers, texts, NumPy scalars and arrays.

    Raises
    ------
    ScfmError
        The file is missing, cut short, a Git LFS pointer, or refers to anything that is not data; nothing is executed.
    """
    path = require_file(path)
    try:
        with path.open("rb") as handle:
            return _DataUnpickler(handle).load()
    except pickle.UnpicklingError as error:
        raise ScfmError(
            f"{path}: not loaded as a dictionary: {error}. Nothing in it was executed; get the file again from its"
            " official source."
        ) from error
    except MemoryError as error:
        raise ScfmError(
            f"{path}: declares more than fits into memory, in a file of {path.stat().st_size:,} bytes. It is damaged or"
            " made to exhaust memory; get it again from its official source."
        ) from error
    except (
        EOFError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        UnicodeDecodeError,
        OverflowError,
    ) as error:
        raise ScfmError(
            f"{path}: the pickle is cut short or damaged ({type(error).__name__}, {path.stat().st_size:,} bytes)."
            " Download it again."
        ) from error


def load_dict(path: Path | str) -> dict:
    """Load a pickled dictionary (see :func:`load_pickle`); anything but a non-empty dict is an error."""
    content = load_pickle(path)
    if not isinstance(content, dict) or not content:
        what = "an empty dictionary" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ScfmError(f"{path}: holds {what}, expected a non-empty dictionary.")
    return content


#: files that were asked for since :func:`files_read` began
_READ: ContextVar[set[Path] | None] = ContextVar("_READ", default=None)


@contextmanager
def files_read() -> Iterator[set[Path]]:
    """Collect the paths that :func:`require_file` returns meanwhile: what a model was made from."""
    found: set[Path] = set()
    token = _READ.set(found)
    try:
        yield found
    finally:
        _READ.reset(token)


def require_file(path: Path | str) -> Path:
    """Return the path of a file that exists and is not a Git LFS pointer; say what lies beside it where it is
    missing.
    """
    path = Path(path)
    if not path.is_file():
        beside = sorted(p.name for p in path.parent.iterdir())[:12] if path.parent.is_dir() else None
        where = (
            f"the folder holds {', '.join(beside) or 'nothing'}"
            if beside is not None
            else f"the folder {path.parent} does not exist"
        )
        raise ScfmError(f"{path}: the file is missing; {where}. --weights must point at the model's top folder.")
    with path.open("rb") as handle:
        if handle.read(40).startswith(b"version https://git-lfs"):
            raise ScfmError(
                f"{path}: this is a Git LFS pointer and not the file itself; run 'git lfs pull' in the model's clone."
            )
    if (found := _READ.get()) is not None:
        found.add(path)
    return path
