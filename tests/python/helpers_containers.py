"""Commands of container engines and of conda that run every task on this machine and keep what they were asked for."""

from __future__ import annotations

import re
from pathlib import Path

#: runs what follows the image, the last word before the shell; the name of the image goes to a file of its own
RUN = """
for ((i = 1; i <= $#; i++)); do
    if [ "${{!i}}" = /bin/bash ]; then break; fi
    if [ "${{!i}}" != -- ]; then image=${{!i}}; fi
done
if [ $i -le $# ]; then
    echo "$image" > "{folder}/{name}.$$.image"
    for name in "${{!SINGULARITYENV_@}}" "${{!APPTAINERENV_@}}"; do export "${{name#*ENV_}}=${{!name}}"; done
    exec "${{@:i}}"
fi
"""
PULL_FILE = 'if [ "$1" = pull ]; then touch "${@: -2:1}"; fi\n'
#: command -> what it does beside the run of a task: an image is pulled into a file or a folder
ENGINES = {
    "docker": "",
    "podman": "",
    "singularity": PULL_FILE,
    "apptainer": PULL_FILE,
    "ch-run": "",
    "ch-image": 'if [ "$1" = pull ]; then mkdir -p "$3/img/$(tr ":/" "+%" <<< "$4")"; fi\n',
    "ch-convert": "",
}
CONDA = """
while [ $# -gt 0 ]; do
    case $1 in
        info) echo '"conda_prefix": "{folder}/conda_home",' ;;
        --prefix) mkdir -p "$2" ;;
        --file) cp "$2" "{folder}/$$.yml" ;;
    esac
    shift
done
"""


def write_engines(folder: Path) -> Path:
    """Write stand-ins of Docker, podman, Singularity, Apptainer, Charliecloud and conda into a folder for ``PATH``.

    Parameters
    ----------
    folder
        Folder to make.

    Returns
    -------
    The folder.
    """
    (folder / "conda_home" / "bin").mkdir(parents=True)
    (folder / "conda_home" / "bin" / "activate").write_text("")
    for name, beside in ENGINES.items():
        _executable(folder / name, RUN.format(folder=folder, name=name) + beside)
    _executable(folder / "conda", CONDA.format(folder=folder))
    return folder


def images_of(folder: Path) -> set[tuple[str, str]]:
    """Return name and version of the images in which tasks were run, whatever an engine makes of their names."""
    found = set()
    for file in folder.glob("*.image"):
        parts = re.search(r"ghcr\.io[/%-]scfmbench[/%-](\w+)[:+-](\d+\.\d+\.\d+)", file.read_text())
        assert parts is not None, file.read_text()
        found.add((parts[1], parts[2]))
    return found


def environments_of(folder: Path) -> set[str]:
    """Return the texts of the environment files that conda was given."""
    return {file.read_text() for file in folder.glob("*.yml")}


def _executable(path: Path, body: str) -> None:
    path.write_text(f"#!/usr/bin/env bash\n{body.lstrip()}")
    path.chmod(0o755)
