"""Errors that a user can act on, and the exit codes that carry them to Nextflow."""

from __future__ import annotations

#: what to do about a damaged file that the run itself has made
MADE_AGAIN = "Delete it and run the same command with -resume: it is made again."
#: not 1: Nextflow's wrapper may end with it where a scheduler ends a task, and it is retried (see conf/base.config)
EXIT_UNEXPECTED = 70
EXIT_USER = 2
#: a resource ran out (memory, disk, GPU): Nextflow retries these with more (see conf/base.config)
EXIT_RESOURCE = 137


class ScfmError(Exception):
    """An error with a cause that the user can correct.

    The message is one or more whole sentences: what is wrong, in which file and column, how many,
    what was expected, what to do next. It is shown without a traceback.
    """

    exit_code = EXIT_USER


class NotApplicable(ScfmError):
    """The step is not defined for this input (one batch, weights missing ...); a result, not a failure.

    Parameters
    ----------
    message
        Sentence for the report.
    code
        Short reason code in snake case, for ``status.tsv`` and ``scores.tsv``.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class ResourceError(ScfmError):
    """Memory, disk or GPU ran out: the task may succeed with more of it."""

    exit_code = EXIT_RESOURCE


class SoftwareError(ScfmError):
    """A program that the task calls is missing: the environment is not complete, so nothing of the task is cached."""


class AbsentFileError(ScfmError):
    """A file is not there. It may be back when the run is resumed, so a task that lacks one leaves nothing to cache."""
