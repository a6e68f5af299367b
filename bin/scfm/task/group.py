"""Several embeddings in one task: each is a step of its own, and a process that is killed loses one of them, not all.

Small embeddings cost less than the start of a process, so a task is given a group of them (``task_group`` in
``plan.tsv``). The work is done in a child process. Where it is killed, the embedding it was working on is left out and
a new child goes on with the next one; the workflow runs what was left out again, alone.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from scfm.errors import EXIT_RESOURCE, ResourceError, ScfmError
from scfm.task.cli import report_error
from scfm.task.imports import CLOCK
from scfm.task.versions import add_loaded, loaded_packages
from scfm.text import plural

log = logging.getLogger(__name__)

#: kind of file -> endings of its names; what is before them is the embedding's id
ENDINGS = {
    "embedding": (".unchecked.parquet", ".parquet", ".unchecked.graph.npz", ".graph.npz"),
    "sidecar": (".unchecked.json", ".json"),
    "knn": (".knn.npz",),
    "scores": (".scores.tsv",),
}


@dataclass(frozen=True)
class Member:
    """One of the embeddings that a task is given.

    Attributes
    ----------
    name
        What the names of its files begin with: the embedding's id.
    embedding, sidecar
        Its table and the JSON beside it.
    more
        Its other files by kind (``knn``, ``scores``).
    correction
        How it is to be corrected, in the step that does so.
    """

    name: str
    embedding: Path
    sidecar: Path
    more: dict[str, Path] = field(default_factory=dict)
    correction: str = ""


def members_of(embedding: Sequence[Path], sidecar: Sequence[Path], **more: Sequence[Path]) -> list[Member]:
    """Return the embeddings of a task, in the order of their tables, each with its files by name.

    Parameters
    ----------
    embedding, sidecar
        Tables and sidecars in any order. Where there is one of each they belong together, whatever their names.
    more
        Further files by kind; an embedding may lack one.

    Raises
    ------
    ScfmError
        A table has no sidecar, a file belongs to no table, or two files of a kind have one name.
    """
    if len(embedding) == len(sidecar) == 1 and all(len(files) <= 1 for files in more.values()):
        only = {kind: files[0] for kind, files in more.items() if files}
        return [Member(_stem(embedding[0], "embedding"), embedding[0], sidecar[0], only)]
    by_kind = {
        kind: _by_name(files, kind) for kind, files in ({"embedding": embedding, "sidecar": sidecar} | more).items()
    }
    tables, sidecars = by_kind["embedding"], by_kind["sidecar"]
    named = {name for files in by_kind.values() for name in files}
    incomplete = sorted(named - (tables.keys() & sidecars.keys()))
    if incomplete:
        raise ScfmError(
            f"{plural(len(incomplete), 'embedding')} without a table or without a sidecar, first:"
            f" {incomplete[0]}. Give <id>.parquet and <id>.json of every embedding."
        )
    return [
        Member(name, path, sidecars[name], {kind: by_kind[kind][name] for kind in more if name in by_kind[kind]})
        for name, path in tables.items()
    ]


def corrected(members: Sequence[Member], corrections: Sequence[str]) -> list[Member]:
    """Return a member per embedding and correction, named as the corrected embedding will be.

    Examples
    --------
    >>> raw = Member("pbmc.pca.raw.0", Path("a.parquet"), Path("a.json"))
    >>> [member.name for member in corrected([raw], ["l2", "center"])]
    ['pbmc.pca.l2.0', 'pbmc.pca.center.0']
    """
    return [
        replace(member, name=member.name.replace(".raw.", f".{correction}."), correction=correction)
        for member in members
        for correction in corrections
    ]


def _stem(path: Path, kind: str) -> str:
    """Return a file's name without the ending of its kind."""
    ending = next((e for e in ENDINGS[kind] if path.name.endswith(e)), path.suffix)
    return path.name.removesuffix(ending)


def _by_name(files: Sequence[Path], kind: str) -> dict[str, Path]:
    """Return the files of a kind by the embedding's id."""
    found = {_stem(path, kind): path for path in files}
    if len(found) < len(files):
        raise ScfmError(
            f"{len(files)} files of the kind '{kind}' belong to {plural(len(found), 'embedding')}."
            " Give one per embedding."
        )
    return found


def run_each(members: Sequence[Member], work: Callable[[Member], None], *, outdir: Path) -> None:
    """Run a step for each embedding of a task.

    One embedding is worked on in this process. Several are worked on in a child process, one after the other. Where the
    child is killed or runs out of memory or disk, what it had written about the embedding at hand is removed, and
    another child goes on with the next one: those that are done are done. Any other error ends the task.

    Parameters
    ----------
    members
        The embeddings.
    work
        Does the step for one of them and leaves its status file, last of all (:func:`scfm.task.steps.step`).
    outdir
        Folder of the results.

    Raises
    ------
    ResourceError
        No embedding could be finished.
    SystemExit
        A child ended with another error, which is on standard error already.
    """
    if len(members) == 1:
        work(members[0])
        return
    left, lost = list(members), []
    while left:
        before = set(outdir.iterdir())
        n_done, code = _in_child(left, work)
        left = left[n_done:]
        if code == 0:
            break
        if not left or (code > 0 and code != EXIT_RESOURCE):
            raise SystemExit(code if code > 0 else EXIT_RESOURCE)
        member = left.pop(0)
        lost.append(member)
        for path in set(outdir.iterdir()) - before:
            if path.is_file() and path.name.startswith(f"{member.name}."):
                path.unlink()
        reason = f"was killed ({signal.Signals(-code).name})" if code < 0 else "ran out of memory or disk"
        log.error("%s: the process that worked on it %s. It is run again on its own.", member.name, reason)
    if len(lost) == len(members):
        raise ResourceError(
            f"None of {plural(len(members), 'embedding')} could be finished, first: {members[0].name}. Give the process"
            " more memory and resume."
        )


def _in_child(members: Sequence[Member], work: Callable[[Member], None]) -> tuple[int, int]:
    """Work on embeddings in a child process; return how many were finished and its exit code, -n for signal n."""
    with tempfile.TemporaryFile(buffering=0) as journal:
        imported_before = CLOCK.seconds
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for member in members:
                    work(member)
                    journal.write(b".")
                report = {"packages": loaded_packages(), "import_seconds": CLOCK.seconds - imported_before}
                journal.write(json.dumps(report).encode())
                code = 0
            except BaseException as error:  # a child must never return into its parent's code
                if "--debug" in sys.argv:
                    log.exception("traceback")
                code = report_error(error, sys.argv[1:])
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, ended = os.waitpid(child, 0)
        journal.seek(0)
        written = journal.read().decode()
    rest = written.lstrip(".")
    if rest:
        report = json.loads(rest)
        add_loaded(report["packages"])
        CLOCK.add(report["import_seconds"])
    return len(written) - len(rest), os.waitstatus_to_exitcode(ended)
