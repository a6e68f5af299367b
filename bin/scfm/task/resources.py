"""Time, memory and versions of a running task."""

from __future__ import annotations

import logging
import os
import platform
import resource
import sys
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

log = logging.getLogger(__name__)

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def limit_threads(cpus: int) -> None:
    """Let numeric libraries use ``cpus`` threads; call it before NumPy, numba or torch are imported."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(max(1, cpus))


class Stopwatch:
    """Measure wall time from creation.

    Examples
    --------
    >>> watch = Stopwatch()
    >>> watch.seconds >= 0
    True
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since creation."""
        return time.perf_counter() - self._start


def peak_rss_mb() -> float:
    """Return the largest resident memory this process has had since :func:`reset_peaks`, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would start from the peak of the process that started this one
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024**2


def reset_peaks() -> None:
    """Start the measurement of memory anew, so that the peaks that follow are those of one step.

    Where the system can't (no Linux, or not permitted), the peaks stay those of the whole process.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        log.debug("The peak of the resident memory can't be reset here.")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_gpu_mb() -> float | None:
    """Return the largest GPU memory that PyTorch has allocated in MiB, None where no GPU was used."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return torch.cuda.max_memory_allocated() / 1024**2


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Return installed versions by distribution name, with Python's own; absent packages are 'absent'."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
