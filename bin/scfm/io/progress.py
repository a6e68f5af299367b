"""Progress of a download: a bar for a person at a terminal, log lines for a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

#: seconds between two lines
_TELL_EVERY = 15.0


@contextmanager
def meter(name: str, start: int, total: int | None) -> Iterator[Callable[[int], object]]:
    """Show how much of a file has come; call what is yielded with the number of new bytes.

    Parameters
    ----------
    name
        Of the file.
    start
        Bytes that were there before.
    total
        Bytes of the whole file; None where not known.
    """
    bar_type = _bar_type()
    if bar_type is None:
        yield _Lines(name, start, total).add
        return
    with bar_type(
        total=total, initial=start, desc=name, unit="B", unit_scale=True, dynamic_ncols=True, file=sys.stderr
    ) as bar:
        yield bar.update


def _bar_type() -> type | None:
    """Return tqdm's bar where a person looks and it is installed."""
    if not sys.stderr.isatty() or not logging.getLogger().isEnabledFor(logging.INFO):
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm


class _Lines:
    """A line in the log every quarter of a minute."""

    def __init__(self, name: str, at: int, total: int | None) -> None:
        self.name, self.at, self.total = name, at, total
        self.reported = time.monotonic()

    def add(self, count: int) -> None:
        """Count new bytes."""
        self.at += count
        if time.monotonic() - self.reported > _TELL_EVERY:
            self.reported = time.monotonic()
            log.info("%s: %.0f MB%s", self.name, self.at / 1e6, f" of {self.total / 1e6:.0f} MB" if self.total else "")
