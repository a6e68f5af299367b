"""Programs outside of Python that do a part of a task, and the packages of R."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from subprocess import DEVNULL, Popen

from scfm.errors import SoftwareError
from scfm.task.resources import add_child_peak
from scfm.text import listing

#: prints the packages among its arguments that R does not find
_ABSENT = "for (name in commandArgs(TRUE)) if (!nzchar(system.file(package = name))) cat(name, '\\n')"


@dataclass(frozen=True)
class Finished:
    """A program that has ended.

    Attributes
    ----------
    status
        Exit status; negative: the signal that ended it.
    output, errors
        What it wrote to standard output and to standard error.
    """

    status: int
    output: str
    errors: str


def run_program(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Finished:
    """Run a program to its end; its peak of memory counts as one of this process.

    Parameters
    ----------
    command
        Program and arguments; no shell reads them.
    environment
        Variables beside those of this process.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        program = Popen(
            list(command), stdin=DEVNULL, stdout=output, stderr=errors, env=os.environ | dict(environment or {})
        )
        try:
            _, state, used = os.wait4(program.pid, 0)
        except BaseException:  # an interrupt: the program must not outlive the task
            program.kill()
            program.wait()
            raise
        program.returncode = os.waitstatus_to_exitcode(state)
        add_child_peak(used.ru_maxrss / 1024)
        texts = []
        for stream in (output, errors):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", errors="replace"))
    return Finished(program.returncode, *texts)


def rscript() -> str | None:
    """Return the path of ``Rscript``; None where there is no R on ``PATH``."""
    return shutil.which("Rscript")


def require_r(packages: Iterable[str], required_by: str) -> str:
    """Return the path of ``Rscript`` if R has some packages.

    Parameters
    ----------
    packages
        Names of R packages.
    required_by
        Titles of the methods, for the sentence.

    Raises
    ------
    SoftwareError
        There is no R, or it lacks a package.
    """
    program, packages = rscript(), list(packages)
    if program is None:
        problem = "there is no Rscript on PATH"
    else:
        found = run_program([program, "--vanilla", "-e", _ABSENT, *packages])
        absent = found.output.split()
        if not found.status and not absent:
            return program
        problem = f"{program} lacks {listing(absent)}" if absent else f"{program} does not start"
    raise SoftwareError(
        f"R with the packages {listing(packages)} is required by {required_by}, and {problem}. Run `make setup-r` in"
        " the pipeline's folder, choose a profile that brings the software (docker, singularity, conda ...;"
        " docs/usage.md), or leave the method out of --methods."
    )
