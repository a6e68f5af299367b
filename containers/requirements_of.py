"""Print the pinned requirements of environments: ``requirements_of.py MODULES NAME...``."""

import re
import sys
from pathlib import Path


def requirements(modules: Path, names: list[str]) -> list[str]:
    """Return the pinned requirements of environments, sorted.

    Parameters
    ----------
    modules
        The folder ``modules/local``.
    names
        A method's environment (``integrate/cells/environments/scvi``), or a module (``find/neighbors``).

    Raises
    ------
    SystemExit
        A file is absent, or two environments pin different versions.
    """
    found = {}
    for name in names:
        file = next(
            (path for path in (modules / f"{name}.yml", modules / name / "environment.yml") if path.exists()), None
        )
        if file is None:
            sys.exit(f"requirements_of.py: there is no environment '{name}' in {modules}.")
        for package, version in re.findall(r"^ *- ([A-Za-z0-9_.-]+)==(\S+)$", file.read_text(), re.MULTILINE):
            if found.setdefault(package, version) != version:
                sys.exit(f"requirements_of.py: {name} pins {package} {version}, another environment {found[package]}.")
    return [f"{package}=={version}" for package, version in sorted(found.items())]


if __name__ == "__main__":
    print("\n".join(requirements(Path(sys.argv[1]), sys.argv[2:])))
