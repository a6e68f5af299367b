"""Packages that the environment of a run lacks: one sentence, before the first computation."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from helpers_pipeline import PROJECT
from scfm.errors import ScfmError
from scfm.planning.environment import CORE, require_packages, required_packages
from scfm.registries.methods import load_methods
from scfm.registries.models import load_model_table


def test_a_whole_environment_has_no_errors() -> None:
    methods = load_methods(PROJECT / "assets" / "methods.tsv")
    models = load_model_table(PROJECT / "assets" / "models.tsv")
    required = {m.title: m.packages for m in (*methods.values(), *models.values())}
    looked_up: list[str] = []
    require_packages(required, lambda module: looked_up.append(module) or find_spec(module))
    assert len(looked_up) == len(required_packages(required)) and {"scvi", "torch", "harmonypy"} <= set(looked_up)


def test_the_sentence_names_packages_and_who_requires_them(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    absent = {"scvi", "harmonypy"}
    required = {"scVI": ("scvi-tools", "torch"), "Harmony": ("harmonypy",), "ComBat": ("scanpy",)}
    with pytest.raises(ScfmError) as error:
        require_packages(required, lambda module: module not in absent)
    text = str(error.value)
    for part in ("lacks 2 packages: 'scvi-tools', 'harmonypy', required by scVI, Harmony.", "make setup", "env.sh"):
        assert part in text
    assert "ComBat" not in text
    require_packages({"ComBat": ("scanpy",)}, lambda module: module not in absent)


def test_a_conda_environment_of_one_step_is_not_checked(monkeypatch, tmp_path) -> None:
    (tmp_path / "conda-meta").mkdir()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    require_packages({}, lambda _module: False)
    (tmp_path / "conda-meta").rmdir()
    with pytest.raises(ScfmError, match="lacks"):
        require_packages({}, lambda _module: False)


def test_core_packages_are_pinned_and_required_by_every_run() -> None:
    pins = {line.split("==")[0].lower() for line in (PROJECT / "requirements" / "all.txt").read_text().splitlines()}
    assert set(CORE) <= pins
    assert all(required_packages({})[name] == ["every run"] for name in CORE)


def test_a_bare_python_gets_the_sentence_and_no_traceback(tmp_path) -> None:
    command = [sys.executable, "-S", str(PROJECT / "bin" / "check_inputs.py"), "--own_environment"]
    command += ["--params", "p.json", "--input", "s.csv", "--outdir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"lacks {len(CORE)} packages" in done.stderr
    assert not list(tmp_path.iterdir())  # nothing that a resumed run could take for a result
