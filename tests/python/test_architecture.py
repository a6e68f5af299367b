"""The layers of ``bin/scfm``: no circle, nothing imports upward, nothing of production imports ``scfm.testing``."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SCFM = Path(__file__).resolve().parents[2] / "bin" / "scfm"

#: lowest first; a folder may import from itself and from those before it
LAYERS = [
    "errors",
    "text",
    "keyed",
    "io",
    "registries",
    "task",
    "inputs",
    "fetch",
    "recipes",
    "weights",
    "embeddings",
    "neighbors",
    "corrections",
    "preparation",
    "design",
    "integration",
    "models.core",
    "models",
    "simulation",
    "metrics",
    "umap",
    "probing",
    "diagnosis",
    "expression",
    "orthogonal",
    "query",
    "planning",
    "study",
    "report.tables",
    "report.page",
    "report.plots",
    "report.view",
    "report.sections",
    "report",
    "api",
    "testing",
]


def modules() -> dict[str, Path]:
    """Dotted name of every module, relative to ``scfm``."""
    found = {}
    for path in sorted(SCFM.rglob("*.py")):
        parts = path.relative_to(SCFM).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(name: str, *, annotations: bool) -> set[str]:
    """Modules of the package that a module imports, at any depth of its code."""
    tree = ast.parse(MODULES[name].read_text())
    skipped = set()
    if not annotations:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                skipped.update(id(inner) for inner in ast.walk(node))
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "scfm":
            base = (node.module or "").removeprefix("scfm").removeprefix(".")
            for alias in node.names:
                deeper = f"{base}.{alias.name}".removeprefix(".")
                found.add(deeper if deeper in MODULES else base)
        elif isinstance(node, ast.Import):
            found.update(a.name.removeprefix("scfm").removeprefix(".") for a in node.names if a.name.startswith("scfm"))
    return found - {name}


def layer(name: str) -> str:
    """The layer of a module: the longest entry of ``LAYERS`` that it is, or lies in."""
    fitting = [known for known in LAYERS if name == known or name.startswith(f"{known}.")]
    assert fitting, f"scfm.{name} lies in no layer; add its folder to LAYERS"
    return max(fitting, key=len)


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_nothing_imports_upward(name: str) -> None:
    own = LAYERS.index(layer(name))
    above = {other for other in imports_of(name, annotations=True) if other and LAYERS.index(layer(other)) > own}
    assert not above, f"scfm.{name} ({layer(name)}) imports from layers above it: {sorted(above)}"


def test_no_circle() -> None:
    graph = {name: imports_of(name, annotations=False) & MODULES.keys() for name in MODULES if name}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_a_layer_is_listed_once_and_exists() -> None:
    assert len(LAYERS) == len(set(LAYERS))
    for known in LAYERS:
        place = SCFM / known.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), known


def test_no_long_file() -> None:
    """A file has one responsibility and at most 300 lines; a longer one is split along what it does."""
    lengths = {path: len(path.read_text().splitlines()) for path in SCFM.parent.rglob("*.py")}
    assert len(lengths) > 200
    long = sorted(f"{path.relative_to(SCFM.parent)}: {n} lines" for path, n in lengths.items() if n > 300)
    assert not long, f"files above 300 lines: {'; '.join(long)}"
