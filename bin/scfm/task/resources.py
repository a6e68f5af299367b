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
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
_BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def limit_threads(cpus: int, blas: int | None = None) -> None:
    """Let numeric libraries use ``cpus`` threads; call it before NumPy, numba or torch are imported.

    Parameters
    ----------
    cpus
        Threads.
    blas
        Threads of linear algebra; ``cpus`` by default. Other numbers of threads add products up in another order, so
        a result that must not depend on ``cpus`` to the last digit has a fixed number.
    """
    os.environ.update(thread_variables(cpus, blas))


def thread_variables(cpus: int, blas: int | None = None) -> dict[str, str]:
    """Return the variables with which the numeric libraries of a program use ``cpus`` threads, see
    :func:`limit_threads`.
    """
    most = dict.fromkeys(_THREAD_VARIABLES, str(max(1, cpus)))
    return most | dict.fromkeys(_BLAS_VARIABLES, str(max(1, blas or cpus)))


#: largest memory of the programs that this process has run since :func:`reset_peaks`, in MiB
_child_peaks: list[float] = []


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


def add_child_peak(mb: float) -> None:
    """Count the largest resident memory of a program that this process has run, in MiB."""
    _child_peaks.append(mb)


def peak_rss_mb() -> float:
    """Return the largest resident memory since :func:`reset_peaks` of this process or a program that it ran, in MiB."""
    return max([_own_peak_mb(), *_child_peaks])


def _own_peak_mb() -> float:
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
    _child_peaks.clear()
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
