"""Free space: asked for before a large file is written, and the sentence where it has run out."""

from __future__ import annotations

import shutil
from pathlib import Path

from scfm.errors import ResourceError

#: what to do about a full work folder
SPACE_ADVICE = "Free some space, or choose a work folder (-w) with more, and run the same command with -resume."


def require_space(path: Path, n_bytes: float, advice: str) -> None:
    """Raise :class:`ResourceError` where the folder of a file has less space than the file will need.

    Parameters
    ----------
    path
        File that will be written.
    n_bytes
        Bytes that it will need, or an estimate.
    advice
        What to do, as a sentence.
    """
    free = shutil.disk_usage(path.parent).free
    if n_bytes > free:
        raise ResourceError(
            f"{path}: needs about {_readable(n_bytes)}, and its folder has {_readable(free)} of free space. Nothing of"
            f" it was written. {advice}"
        )


def no_space(path: Path, error: OSError) -> ResourceError:
    """Return the error of a file that could not be written to its end."""
    free = shutil.disk_usage(path.parent).free
    return ResourceError(
        f"{path}: could not be written to its end ({error.strerror or error}); its folder has {_readable(free)} of free"
        f" space. Nothing of it was kept. {SPACE_ADVICE}"
    )


def _readable(n_bytes: float) -> str:
    """Return bytes as MB or GB."""
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.1f} MB"
