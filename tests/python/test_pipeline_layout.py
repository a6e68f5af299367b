"""The parts agree with each other: parameters and schema, registry and code, environments and pins."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from helpers_pipeline import PROJECT, environment, run_pipeline

MODULES = sorted((PROJECT / "modules" / "local").rglob("main.nf"))


def _schema_parameters() -> dict[str, dict]:
    schema = json.loads((PROJECT / "nextflow_schema.json").read_text())
    return {name: spec for group in schema["$defs"].values() for name, spec in group["properties"].items()}


def _config_parameters() -> dict[str, str]:
    text = (PROJECT / "nextflow.config").read_text()
    block = text[text.index("params {") : text.index("\n}\n", text.index("params {"))]
    return dict(re.findall(r"^    (\w+)\s+= (.+)$", block, re.MULTILINE))


def test_config_and_schema_hold_the_same_parameters_and_defaults() -> None:
    schema, config = _schema_parameters(), _config_parameters()
    assert set(schema) - {"method_resources"} == set(config)
    for name, text in config.items():
        value = text.removeprefix("params.outdir ?: ").strip("'")
        default = schema[name].get("default")
        expected = "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        assert value == expected, name


def test_every_parameter_is_read_somewhere() -> None:
    sources = [
        p
        for folder in ("bin", "subworkflows", "workflows", "conf", "modules")
        for p in (PROJECT / folder).rglob("*")
        if p.suffix in {".py", ".nf", ".config"}
    ]
    text = "\n".join(
        p.read_text() for p in [*sources, PROJECT / "main.nf", PROJECT / "nextflow.config"] if "tests" not in p.parts
    )
    unread = []
    for name in _schema_parameters():
        _, _, rest = name.partition("_")
        # by its name in quotes or as a property, or, without the method's name in front, in that method's DEFAULTS
        ways = [rf"(?:params|options|settings|run)\.{name}\b", rf"[\"']{name}[\"']"] + (
            [rf"[\"']{re.escape(rest)}[\"']"] if rest else []
        )
        if not any(re.search(way, text) for way in ways):
            unread.append(name)
    assert unread == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_every_module_has_its_parts(module) -> None:
    text = module.read_text()
    for part in ("tag ", "label ", "conda ", "container ", "stub:"):
        assert part in text, part
    assert (module.parent / "environment.yml").exists()
    assert (module.parent / "meta.yml").exists()
    assert (module.parent / "tests" / "main.nf.test").exists()


def test_environments_hold_the_pinned_versions() -> None:
    pins = dict(
        line.split("==") for line in (PROJECT / "requirements" / "all.txt").read_text().splitlines() if "==" in line
    )
    for module in MODULES:
        for name, version in re.findall(r"- ([\w-]+)==(\S+)", (module.parent / "environment.yml").read_text()):
            assert pins[name] == version, f"{module.parent}: {name}"


def test_every_method_has_code_and_resources() -> None:
    from scfm.registries.methods import load_methods

    resources = (PROJECT / "conf" / "methods.config").read_text()
    for method in load_methods(PROJECT / "assets" / "methods.tsv").values():
        assert (PROJECT / "bin" / "scfm" / "integration" / f"{method.name}.py").exists()
        assert f"        {method.name}: [" in resources


@pytest.mark.pipeline
def test_help_prints_every_parameter() -> None:
    done = subprocess.run(
        ["nextflow", "run", str(PROJECT), "--help"], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in _schema_parameters():
        assert f"--{name} " in done.stdout


@pytest.mark.pipeline
def test_one_method_gets_its_own_resources_from_a_users_config(tmp_path) -> None:
    # with the first parser: the second one of Nextflow 25.04.4 does not apply a profile beside -c
    (tmp_path / "my.config").write_text("params.method_resources.pca.gpu = true\n")
    options = [
        "-profile",
        "test",
        "-c",
        "my.config",
        "--methods",
        "pca,combat",
        "--controls",
        "none",
        "--corrections",
        "none",
        "--skip_umap",
        "--skip_probing",
    ]
    run = run_pipeline(tmp_path, *options, parser="v1")
    assert run.status == 0, run.log
    scripts = [path.read_text() for path in tmp_path.glob("work/*/*/.command.sh")]
    devices = {
        method: ("cuda" if "--device cuda" in text else "cpu")
        for text in scripts
        for method in ("pca", "combat")
        if f"--method {method} " in text
    }
    assert devices == {"pca": "cuda", "combat": "cpu"}
