"""Run an executable's ``main`` in this process on a bad input and return what a user would see."""

from __future__ import annotations

import importlib
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: seconds after which a case counts as a hang
LIMIT = 30


@dataclass(frozen=True, slots=True)
class Case:
    """A bad input.

    Attributes
    ----------
    name
        Unique, for the test's id.
    make
        Writes the input into a folder and returns the executable's name and its arguments.
    words
        What the sentence must say, each of them; empty where a sentence of any kind will do.
    """

    name: str
    make: Callable[[Path], tuple[str, list[str]]]
    words: tuple[str, ...] = ()


class HangError(Exception):
    """A case took longer than :data:`LIMIT` seconds."""


@contextmanager
def time_limit() -> Iterator[None]:
    """Raise :class:`HangError` in the body after :data:`LIMIT` seconds."""

    def stop(*_: object) -> None:
        raise HangError(f"no answer after {LIMIT} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def said(executable: str, argv: list[str], folder: Path) -> list[str]:
    """Return what :func:`answer` returns; a run that takes too long is an answer of its own."""
    try:
        with time_limit():
            return answer(executable, argv, folder)
    except HangError as error:
        return [str(error)]


def answer(executable: str, argv: list[str], folder: Path) -> list[str]:
    """Return the sentences of a run: an error's text, the errors of the check, or the reason in a status file.

    An error that is no :class:`scfm.errors.ScfmError` comes back as the text a user would get, with its type. A run
    that succeeds has no sentence.
    """
    from scfm.task.cli import describe_error

    main = importlib.import_module(executable).main
    try:
        main(argv)
    except HangError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  # what reaches the user is what is tested
        return [f"Unexpected exit {error.code}" if isinstance(error, SystemExit) else describe_error(error)]
    errors = folder / "out" / "errors.txt"
    if errors.exists():
        return errors.read_text().splitlines()
    statuses = [json.loads(p.read_text()) for p in (folder / "out").glob("*.status.json")]
    return [s["reason"] for s in statuses if s["status"] == "failed"]
