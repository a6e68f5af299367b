"""Which installed packages the environment of a process lacks, by its file and what those packages require."""

from __future__ import annotations

import ast
import atexit
import json
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from tempfile import NamedTemporaryFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]
#: part of every environment
ALWAYS = ("pip", "setuptools")
HOOK = Path(__file__).parent / "own_packages"
#: modules of the package that import others by name: those of a folder
BY_NAME = {
    "scfm.metrics.scoring": "metrics",
    "scfm.corrections.run": "corrections",
    "scfm.report.build": "report/sections",
}


def environment_files() -> dict[str, Path]:
    """The environment of every process: of its module, under each name it is included by, or of conf/methods.config."""
    found = {}
    for module in sorted((PROJECT / "modules" / "local").rglob("main.nf")):
        name = re.search(r"^process (\w+)", module.read_text(), re.MULTILINE)
        assert name is not None, module
        found[name[1]] = module.with_name("environment.yml")
    for workflow in sorted((PROJECT / "subworkflows").rglob("main.nf")):
        for name, alias in re.findall(r"include \{ (\w+) as (\w+) +\}", workflow.read_text()):
            found[alias] = found.get(name, Path())
    for block in (PROJECT / "conf" / "methods.config").read_text().split("withName: ")[1:]:
        own = re.search(r'^ +conda += "\$\{projectDir\}/([^"]+)"$', block, re.MULTILINE)
        if own is not None:
            found[block.split(" ")[0]] = PROJECT / own[1]
    return found


def with_requirements(packages: list[str]) -> set[str]:
    """Canonical names of packages and of all that they require here; of one that is not installed, its name alone."""
    found: set[tuple[str, str]] = set()
    left = [Requirement(package) for package in packages]
    while left:
        wanted = left.pop()
        for extra in ("", *wanted.extras):
            key = (canonicalize_name(wanted.name), extra)
            if key in found:
                continue
            found.add(key)
            try:
                lines = distribution(wanted.name).requires or []
            except PackageNotFoundError:
                continue
            needs = (Requirement(line) for line in lines)
            left += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


@cache
def hidden_packages() -> dict[str, tuple[list[str], list[str]]]:
    """The installed top-level modules and distributions that the environment of each process lacks."""
    owners = {name: {canonicalize_name(o) for o in by} for name, by in packages_distributions().items()}
    installed = {name for by in owners.values() for name in by}
    by_file: dict[Path, tuple[list[str], list[str]]] = {}
    found = {}
    for process, file in environment_files().items():
        if file not in by_file:
            pinned = re.findall(r"^ *- ([\w.-]+)==", file.read_text(), re.MULTILINE)
            has = with_requirements([*pinned, *ALWAYS])
            modules = sorted(name for name, by in owners.items() if not by & has)
            by_file[file] = modules, sorted(installed - has)
        found[process] = by_file[file]
    return found


@cache
def hiding_environment() -> dict[str, str]:
    """Variables that hide from every task of a run what its own environment lacks."""
    with NamedTemporaryFile("w", prefix="scfm-hidden-", suffix=".json", delete=False) as file:
        json.dump(hidden_packages(), file)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return {"SCFM_HIDDEN_PACKAGES": file.name, "PYTHONPATH": str(HOOK)}


def module_file(name: str) -> Path | None:
    """The file of a module of the package, if it is one."""
    base = PROJECT / "bin" / name.replace(".", "/")
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@cache
def imported(path: Path) -> set[str]:
    """Modules that a file imports at any depth of its code, but for annotations."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    skipped = {id(inner) for node in typing for inner in ast.walk(node)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return found


def reached_packages(executables: list[str]) -> set[str]:
    """Top-level modules of others that executables, or what they import of the package, import at any depth."""
    left, seen, found = [PROJECT / "bin" / name for name in executables], set(), set()
    while left:
        path = left.pop()
        if path in seen:
            continue
        seen.add(path)
        names = imported(path)
        by_name = BY_NAME.get(".".join(path.relative_to(PROJECT / "bin").with_suffix("").parts))
        if by_name:
            left += sorted((PROJECT / "bin" / "scfm" / by_name).glob("*.py"))
        for name in names:
            if name.split(".")[0] == "scfm":
                left += [file for file in [module_file(name)] if file]
            else:
                found.add(name.split(".")[0])
    return found


def executables_of() -> dict[str, list[str]]:
    """The executables in bin/ that the script of every process calls."""
    found = {}
    for module in sorted((PROJECT / "modules" / "local").rglob("main.nf")):
        text = module.read_text(encoding="utf-8")
        name = re.search(r"^process (\w+)", text, re.MULTILINE)
        assert name is not None, module
        script = text.split("script:")[1].split("stub:")[0]
        found[name[1]] = [word for word in re.findall(r"\b\w+\.py\b", script) if (PROJECT / "bin" / word).is_file()]
    return found
