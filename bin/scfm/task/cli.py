"""What every executable in ``bin/`` shares: logging, seeds, error sentences, exit codes."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from scfm.errors import EXIT_RESOURCE, EXIT_UNEXPECTED, AbsentFileError, ScfmError, SoftwareError
from scfm.io.space import SPACE_ADVICE
from scfm.task.imports import CLOCK
from scfm.task.versions import loaded_packages, write_versions

#: folders of the processes that are not called by theirs, as ``FIND_NEIGHBORS`` is
_FOLDERS = {
    "multiqc": "multiqc",
    "validate_corrected": "validate/embedding",
    "validate_uncorrected": "validate/embedding",
}
#: folder of the methods, one file each
_METHODS = Path(__file__).parents[1] / "integration"
_DISK_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: what the loader of shared libraries says without memory
_LOADER_LACKS_MEMORY = ("failed to map segment", "Cannot allocate memory")
_RESOURCE_ERRNO = _DISK_ERRNO | {errno.ENOMEM, errno.EIO}


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return an argument parser with the options common to all executables."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--quiet", action="store_true", help="log warnings and errors only")
    parser.add_argument(
        "--process", metavar="NAME", help="Nextflow process: write versions.yml with the packages that did its work"
    )
    return parser


def add_embedding_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the files that every step about embeddings of one data set reads; see :mod:`scfm.task.group`."""
    parser.add_argument("--embedding", type=Path, nargs="+", required=True, help="embedding tables, keyed by cell id")
    parser.add_argument("--sidecar", type=Path, nargs="+", required=True, help="their sidecars (JSON)")
    parser.add_argument("--obs", type=Path, required=True, help="<dataset>.obs.parquet")


def add_step_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the failure policy and the folder of a step about one embedding; see :func:`scfm.task.steps.step`."""
    parser.add_argument(
        "--on_error",
        choices=["continue", "stop"],
        default="continue",
        help="what a failure does: continue with a status file that says why, or stop with an error",
    )
    parser.add_argument("--outdir", type=Path, default=Path(), help="folder to write to")


def on_off(text: str) -> bool:
    """Parse a written boolean; for ``type=`` of an argument (``type=bool`` would take 'false' as true)."""
    value = text.strip().lower()
    if value in {"true", "yes", "on", "1"}:
        return True
    if value in {"false", "no", "off", "0"}:
        return False
    raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")


def _lacks_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, by whatever the libraries make of it.

    Where a package is loaded it is an ``ImportError`` or ``OSError`` of the loader, in Arrow and NumPy a
    ``MemoryError``, in torch an error of its own. A library may raise another error in its place (llvmlite: a library
    that is not found), so that what was raised before counts too.
    """
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, MemoryError) or type(link).__name__ == "OutOfMemoryError":
            return True
        text = str(link)
        if isinstance(link, (ImportError, OSError)) and any(part in text for part in _LOADER_LACKS_MEMORY):
            return True
        if isinstance(link, RuntimeError) and "can't start new thread" in text:
            return True
        link = link.__cause__ or link.__context__
    return False


def describe_error(error: BaseException) -> str:
    """Return one sentence for an error, without a traceback."""
    if isinstance(error, ScfmError):
        return str(error)
    if _lacks_memory(error):
        return f"The task ran out of memory ({error or 'no details'}). Give it more memory and resume."
    if isinstance(error, ImportError) and not (error.name or "").startswith("scfm"):
        state = "is not installed" if isinstance(error, ModuleNotFoundError) else f"can't be loaded ({error})"
        return (
            f"The Python package '{error.name}' {state} for {sys.executable} (Python"
            f" {platform.python_version()}). Run with a profile that brings the software (docker, singularity, conda"
            " ...), or set up the checkout with `make setup` and start Nextflow from a shell that has read env.sh"
            " (`. ./env.sh`)."
        )
    if isinstance(error, OSError) and error.errno in _DISK_ERRNO:
        return f"{error.filename or 'A file'}: could not be written ({error.strerror}). {SPACE_ADVICE}"
    text = " ".join(str(error).split()) or "no message"
    return f"Unexpected {type(error).__name__}: {text}"


def exit_code_of(error: BaseException) -> int:
    """Return the exit status for an error; resource errors get the one that Nextflow retries."""
    if isinstance(error, ScfmError):
        return error.exit_code
    if _lacks_memory(error) or (isinstance(error, OSError) and error.errno in _RESOURCE_ERRNO):
        return EXIT_RESOURCE
    return EXIT_UNEXPECTED


def stops_task(error: BaseException) -> bool:
    """Tell whether an error is about the task and not about its input: it is raised, so that nothing of it is cached.

    That is a lack of memory or disk (Nextflow retries the task with more), an environment that is not complete, and a
    file that is gone: with it in its place again the task would have the same key in the cache.
    """
    about_task = (ImportError, SoftwareError, AbsentFileError, FileNotFoundError)
    return isinstance(error, about_task) or exit_code_of(error) == EXIT_RESOURCE


def environment_file(process: str) -> str:
    """Return the file that lists the packages of a process, as a pattern below the folder of the pipeline.

    Examples
    --------
    >>> environment_file("SCFMBENCH:EVALUATE_EMBEDDINGS:SCORE_EMBEDDING")
    'modules/local/score/embedding/environment.yml'
    >>> environment_file("HARMONY"), environment_file("VALIDATE_CORRECTED_ALONE")
    ('modules/local/*/cells/environments/harmony.yml', 'modules/local/validate/embedding/environment.yml')
    """
    name = process.rpartition(":")[2].lower().removesuffix("_alone")
    folder = _FOLDERS.get(name, name.replace("_", "/"))
    is_method = (_METHODS / f"{name}.py").is_file()
    if name in _FOLDERS or ("_" in name and not is_method):
        return f"modules/local/{folder}/environment.yml"
    return f"modules/local/*/cells/environments/{name}.yml"


def report_error(error: BaseException, arguments: Sequence[str]) -> int:
    """Print an error as a sentence on standard error; return the exit status."""
    process = _value_of("--process", arguments)
    where = f" Packages of this process: {environment_file(process)}." if process else ""
    is_absent = isinstance(error, ImportError) and not _lacks_memory(error)
    text = describe_error(error) + (where if is_absent else "")
    print(f"ERROR: {text}", file=sys.stderr)
    return exit_code_of(error)


def _value_of(option: str, arguments: Sequence[str]) -> str | None:
    """Return the value of an option that every executable has."""
    return arguments[arguments.index(option) + 1] if option in arguments else None


def run(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> None:
    """Run an executable's ``main`` and exit with the status of what happened.

    Errors are printed to standard error as sentences; ``--debug`` adds the traceback. A run that ends normally logs how
    long packages were imported and, with ``--process``, leaves ``versions.yml``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = os.path.basename(sys.argv[0]).removesuffix(".py")
    logging.basicConfig(
        level=logging.WARNING if "--quiet" in arguments else logging.INFO,
        format=f"%(asctime)s {name} %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    CLOCK.start()
    try:
        status = main(arguments)
        process = _value_of("--process", arguments)
        if process:
            write_versions("versions.yml", process, loaded_packages())
        logging.getLogger(name).info("%.2f s of imports", CLOCK.seconds)
    except Exception as error:  # the one place where every error becomes a sentence and an exit status
        if "--debug" in arguments:
            logging.getLogger(name).exception("traceback")
        sys.exit(report_error(error, arguments))
    sys.exit(status or 0)
