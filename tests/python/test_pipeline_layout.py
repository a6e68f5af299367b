"""The parts agree with each other: parameters and schema, registry and code, environments and pins."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml

from helpers_pipeline import PROJECT, environment
from scfm.registries.methods import load_methods

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
        value = re.sub(r"^params\.\w+ \?: ", "", text).strip("'\"")
        value = re.sub(r"\$\{params\.(\w+)\}", lambda match: str(schema[match[1]]["default"]), value)
        default = schema[name].get("default")
        expected = "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        assert value == expected, name


def _without_group(name: str) -> str:
    """A parameter without the name of its method, or else of its group, in front."""
    method = next((m for m in load_methods() if name.startswith(f"{m}_")), "")
    return name.removeprefix(f"{method}_") if method else name.partition("_")[2]


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
    # by its name in quotes or as a property, or, without the name of its group in front, in a method's DEFAULTS or as a
    # field of a settings class
    read = set(re.findall(r"\b(?:params|options|settings|run)\.(\w+)", text))
    quoted = set(re.findall(r"[\"'](\w+)(?=[\"'])", text))
    fields = set(re.findall(r"^    (\w+): \w+ = ", text, re.MULTILINE))
    unread = [
        name
        for name in _schema_parameters()
        if name not in read | quoted
        and _without_group(name) not in quoted | fields
        and not name.startswith("config_profile_")  # set by institutional configs for Nextflow's own reports
    ]
    assert unread == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_no_output_lies_inside_another(module) -> None:
    """``stageOutMode move`` moves one output after the other: what lies inside one that is gone can't be found."""
    block = re.search(r"^    output:\n(.*?)^    (?:script|when):", module.read_text(), re.MULTILINE | re.DOTALL)
    outputs = re.findall(r"path[ (][\"']([^\"']+)[\"']", block[1])
    assert outputs, module
    assert [(a, b) for a in outputs for b in outputs if b.startswith(f"{a}/")] == []


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


def test_processes_that_follow_the_size_of_the_data_say_which() -> None:
    """Rows of ``assets/resources.tsv``: processes that name cells and columns in ``ext data``, and no others."""
    rows = [line.split("\t") for line in (PROJECT / "assets" / "resources.tsv").read_text().splitlines()]
    assert rows[0] == ["process", "mb", "kb_per_cell", "bytes_per_value", "seconds_per_1000_cells"]
    assert all(float(number) >= 0 for row in rows[1:] for number in row[1:])
    follow = {
        re.search(r"^process (\w+)", text, re.MULTILINE)[1] for text in map(_text, MODULES) if "    ext data: {" in text
    }
    calls = "\n".join(_text(path) for path in (PROJECT / "subworkflows").rglob("main.nf"))
    found = {
        alias or name
        for name, alias in re.findall(r"^include \{ (\w+)(?: as (\w+))?\s*\} from '[./]*/modules", calls, re.MULTILINE)
        if name in follow and not alias.endswith("_ALONE")
    }
    assert {row[0] for row in rows[1:]} == found | {"default"}


def _text(path) -> str:
    return path.read_text()


def test_every_method_has_code() -> None:
    for method in load_methods(PROJECT / "assets" / "methods.tsv").values():
        assert (PROJECT / "bin" / "scfm" / "integration" / f"{method.name}.py").exists()


def _nextflow(*arguments: str, parser: str = "v2") -> subprocess.CompletedProcess[str]:
    """Run the pipeline with arguments that end it before a task starts."""
    command = ["nextflow", "run", str(PROJECT), *arguments]
    return subprocess.run(
        command, env=environment() | {"NXF_SYNTAX_PARSER": parser}, capture_output=True, text=True, check=False
    )


def _is_listed(name: str, text: str) -> bool:
    return re.search(rf"^  --{name} ", text, re.MULTILINE) is not None


@pytest.mark.pipeline
def test_help_lists_the_parameters_and_hides_those_of_experts() -> None:
    parameters = _schema_parameters()
    hidden = {name for name, spec in parameters.items() if spec.get("hidden")}
    assert {"harmony_sigma", "publish_dir_mode"} <= hidden and not {"input", "methods", "seeds"} & hidden
    short, whole = _nextflow("--help"), _nextflow("--help", "--show_hidden", parser="v1")
    assert short.returncode == whole.returncode == 0, short.stderr + whole.stderr
    assert {name for name in parameters if _is_listed(name, short.stdout)} == set(parameters) - hidden
    assert {name for name in parameters if _is_listed(name, whole.stdout)} == set(parameters)
    assert re.search(r"--help .*\(default: false\)", short.stdout)  # the schema's default, not the value of this call
    assert f"{len(hidden)} expert parameters are hidden" in short.stdout


@pytest.mark.pipeline
def test_help_of_one_parameter_and_the_version() -> None:
    one = _nextflow("--help", "tie-tolerance")
    spec = _schema_parameters()["tie_tolerance"]
    assert one.returncode == 0, one.stderr
    for part in (spec["description"], spec["help_text"], "type:    number", f"default: {spec['default']}", "allowed: "):
        assert part in one.stdout
    version = _nextflow("--version", parser="v1")
    manifest = re.search(r"version\s+= '([\d.]+)'", (PROJECT / "nextflow.config").read_text())
    assert manifest is not None and f"scfmbench {manifest[1]}, Nextflow " in version.stdout


@pytest.mark.pipeline
def test_a_params_file_may_hold_lists_and_a_preview_lists_what_differs_and_changes_no_results(tmp_path) -> None:
    earlier = tmp_path / "out" / "tables" / "verdict.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("{}")
    (tmp_path / "params.yml").write_text("methods: [pca, harmony]\nseeds: [0, 1]\nn_pcs: 50\n")
    arguments = ("-profile", "test", "-preview", "-params-file", str(tmp_path / "params.yml"))
    done = _nextflow(*arguments, "--outdir", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert earlier.exists() and not (tmp_path / "out" / "pipeline_info" / "params.json").exists()
    listed = dict(re.findall(r"^  (\w+) +(\S+)$", done.stdout, re.MULTILINE))
    assert (listed["methods"], listed["seeds"], listed["n_hvg"]) == ("pca,harmony", "0,1", "500")
    assert "n_pcs" not in listed  # its default


def test_what_is_published_replaces_what_is_there() -> None:
    # a cached task would leave the results of a run with other settings in the folder (engines.files)
    config = (PROJECT / "conf" / "modules.config").read_text()
    assert config.count("path: ") == config.count("mode: params.publish_dir_mode, overwrite: true") > 10


def test_no_file_is_read_in_the_language_of_the_machine() -> None:
    """With LC_ALL=C Java 17 reads ASCII unless it is told otherwise, and stops at a name such as Polanski's."""
    found = []
    folders = [PROJECT / name for name in ("workflows", "subworkflows", "modules")]
    for path in [PROJECT / "main.nf", *(path for folder in folders for path in folder.rglob("*.nf"))]:
        for line in path.read_text().splitlines():
            reads = re.search(r"\w\.text\b|\)\.text\b|readLines\(\)|\.splitCsv\((?!.*charset)", line)
            if reads and "'UTF-8')" not in line and not line.lstrip().startswith("//"):
                found.append(f"{path.relative_to(PROJECT)}: {line.strip()}")
    assert found == []


def test_a_dollar_sign_in_a_text_is_escaped() -> None:
    """In double quotes the v1 parser takes it for the begin of a variable: no script of the pipeline compiles then."""
    found = []
    folders = [PROJECT / name for name in ("workflows", "subworkflows", "modules")]
    for path in [PROJECT / "main.nf", *(path for folder in folders for path in folder.rglob("*.nf"))]:
        for line in path.read_text(encoding="utf-8").splitlines():
            texts = [] if line.lstrip().startswith(("//", "*", "/*")) else re.findall(r'"(?:[^"\\]|\\.)*"', line)
            found += [f"{path.name}: {text}" for text in texts if re.search(r"(?<!\\)\$(?![A-Za-z_{])", text)]
    assert found == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_the_contract_of_a_module_names_its_inputs_and_the_files_it_emits(module) -> None:
    """``meta.yml``, which tools and people read instead of the script."""
    text, meta = module.read_text(), yaml.safe_load((module.parent / "meta.yml").read_text())
    block = re.search(r"^    input:\n(.*?)^    output:\n(.*?)^    script:", text, re.MULTILINE | re.DOTALL)
    inputs, outputs = (re.sub(r" //.*|stageAs: '[^']*'", "", part) for part in block.groups())
    named = {kind: {name for entry in meta[kind] or [] for name in entry} for kind in ("input", "output")}
    assert set(re.findall(r"\b(?:val|path)[ (]+(\w+)", inputs)) == named["input"]
    plain = set(re.findall(r"path[ (]'([\w.]+)'", outputs)) - {"versions.yml"}
    assert plain <= named["output"]
