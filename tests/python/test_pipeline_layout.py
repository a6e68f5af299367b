"""The parts agree with each other: parameters and schema, registry and code, environments and pins."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from helpers_pipeline import PROJECT, environment

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
    assert set(schema) == set(config)
    for name, text in config.items():
        value = text.removeprefix("params.outdir ?: ").strip("'\"")
        value = re.sub(r"\$\{params\.(\w+)\}", lambda match: str(schema[match[1]]["default"]), value)
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
        if name.startswith("config_profile_"):  # set by institutional configs for Nextflow's own reports
            continue
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
    files = [path for path in (PROJECT / "modules").rglob("*.yml") if path.name != "meta.yml"]
    assert len(files) > len(MODULES)
    for file in files:
        for name, version in re.findall(r"- ([\w-]+)==(\S+)", file.read_text()):
            assert pins[name] == version, f"{file}: {name}"


def test_every_method_has_code() -> None:
    from scfm.registries.methods import load_methods

    for method in load_methods(PROJECT / "assets" / "methods.tsv").values():
        assert (PROJECT / "bin" / "scfm" / "integration" / f"{method.name}.py").exists()


@pytest.mark.pipeline
def test_help_prints_every_parameter() -> None:
    done = subprocess.run(
        ["nextflow", "run", str(PROJECT), "--help"], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in _schema_parameters():
        assert f"--{name} " in done.stdout
