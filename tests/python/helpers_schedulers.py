"""Commands of batch systems that run what is submitted at once and keep the options they were given."""

from __future__ import annotations

import os
import stat
from pathlib import Path

#: command -> how it finds the script, what it answers
SUBMIT = {
    "sbatch": ('script="${!#}"', "Submitted batch job $$"),
    "qsub": ('script="${!#}"', "$$"),
    "bsub": ('script=$(mktemp "$PWD/.bsub.XXXX"); cat > "$script"', "Job <$$> is submitted to queue <any>."),
}
STATUS = ["squeue", "scancel", "qstat", "qdel", "bjobs", "bkill"]


def write_schedulers(folder: Path, lost: int = 0) -> Path:
    """Write the commands of Slurm, PBS, SGE and LSF into a folder for ``PATH``.

    A submitted script runs in the background, and its directives go to ``<folder>/<command>.<process id>.txt``.

    Parameters
    ----------
    folder
        Folder to make.
    lost
        How many jobs are accepted first, said to run by ``squeue`` for three seconds, and never run.

    Returns
    -------
    The folder.
    """
    folder.mkdir(parents=True)
    for name, (find, answer) in SUBMIT.items():
        lines = [
            "#!/usr/bin/env bash",
            find,
            f'grep -E "^#(SBATCH|PBS|BSUB|\\\\$) " "$script" > "{folder}/{name}.$$.txt"',
            f'if [ "$(ls "{folder}" | grep -c "txt$")" -gt {lost} ]; then',
            '(cd "$(dirname "$script")" && bash "$script" > .scheduler.log 2>&1) &',
            f'else echo "$$ R" > "{folder}/queue"; (sleep 3; rm "{folder}/queue") &> /dev/null & fi',
            f'echo "{answer}"',
        ]
        _executable(folder / name, lines)
    for name in STATUS:
        _executable(folder / name, ["#!/usr/bin/env bash", "exit 0"])
    if lost:  # Nextflow takes an empty answer for none: there is always the job of somebody else
        _executable(folder / "squeue", ["#!/usr/bin/env bash", f'cat "{folder}/queue" 2> /dev/null', 'echo "1 R"'])
    return folder


def path_with(folder: Path, path: str) -> str:
    """Return a ``PATH`` on which a folder comes first."""
    return f"{folder}{os.pathsep}{path}"


def submitted(folder: Path) -> dict[str, str]:
    """Return the directives of every submitted job, by the name of the job."""
    found = {}
    for file in folder.glob("*.txt"):
        text = file.read_text()
        name = next(line.split()[-1] for line in text.splitlines() if " -J " in line or " -N " in line)
        found[name] = text
    return found


def _executable(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
