"""A process per method and model: calls, environments, images and GPU agree with the registries, and a user's config
changes one process alone.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from helpers_pipeline import PROJECT, environment, names_of, run_pipeline
from scfm.errors import EXIT_UNEXPECTED
from scfm.registries.methods import load_methods
from scfm.registries.models import load_model_table
from scfm.task.versions import PACKAGES, loaded_packages, write_versions

LOCAL = PROJECT / "modules" / "local"
METHODS, MODELS = load_methods(), load_model_table()
METHOD_PROCESSES = [name.upper() for name, method in METHODS.items() if not method.is_control]
MODEL_PROCESSES = [name.upper() for name in MODELS]
#: process -> folder of its generic module
FOLDERS = {name: "integrate/cells" for name in [*METHOD_PROCESSES, "CONTROL"]} | {
    name: "embed/cells" for name in MODEL_PROCESSES
}


def _blocks(name: str) -> dict[str, str]:
    """Selector of one process -> its settings, of a file of conf/."""
    text = (PROJECT / "conf" / name).read_text()
    found = re.findall(r"^    withName: (\w+) \{(?: ([^\n]*) \}$|\n(.*?)^    \}$)", text, re.MULTILINE | re.DOTALL)
    return {process: line + lines for process, line, lines in found}


@cache
def _images() -> dict[str, list[str]]:
    """Image -> environments that go into it, as ``scripts/build_images.sh`` finds them."""
    script = PROJECT / "scripts" / "build_images.sh"
    done = subprocess.run(["bash", str(script), "list"], capture_output=True, text=True, check=True)
    return {image: names.split() for image, names in (line.split("\t") for line in done.stdout.splitlines())}


def _packages(path: Path) -> set[str]:
    return {name.lower() for name in re.findall(r"- ([\w-]+)==", path.read_text())}


@pytest.mark.parametrize("process", FOLDERS)
def test_the_subworkflow_has_one_include_rule_and_call_per_process(process: str) -> None:
    text = (PROJECT / "subworkflows" / "local" / "make_embeddings" / "main.nf").read_text()
    generic, name = ("INTEGRATE_CELLS", "method") if FOLDERS[process] == "integrate/cells" else ("EMBED_CELLS", "model")
    key = "base_method" if name == "method" else name
    rule = "meta.family == 'control'" if process == "CONTROL" else f"meta.{key} == '{process.lower()}'"
    outputs = ["embedding", "status", "history"] if name == "method" else ["shard"]
    for pattern in (
        rf"^include \{{ {generic} as {process}\s+\}} from '../../../modules/local/{FOLDERS[process]}'$",
        rf"^            {process.lower()}: {re.escape(rule)}$",
        rf"^    {process}\((?:continuing\()?ch_{name}\.{process.lower()}\b",
        *(rf"^        {process}\.out\.{output},$" for output in outputs),
    ):
        assert len(re.findall(pattern, text, re.MULTILINE)) == 1, pattern
    included = re.findall(r"(?:INTEGRATE|EMBED)_CELLS as (\w+)", text)
    assert sorted(included) == sorted(FOLDERS)


@pytest.mark.parametrize("process", FOLDERS)
def test_a_process_has_resources_an_image_and_an_environment_that_goes_into_it(process: str) -> None:
    block = _blocks("methods.config")[process]
    name = f"{FOLDERS[process]}/environments/{process.lower()}"
    assert f'conda     = "${{projectDir}}/modules/local/{name}.yml"' in block
    image = re.search(r"container = 'scfmbench/(\w+):", block)
    assert image and name in _images()[image[1]]
    assert "memory    = {" in block and "cpus      = " in block
    needed = MODELS[process.lower()].packages if process in MODEL_PROCESSES else _method_packages(process)
    assert {p.lower() for p in needed} <= _packages(LOCAL / f"{name}.yml")


@pytest.mark.parametrize("model", MODELS)
def test_a_model_that_also_reads_safetensors_has_the_package(model: str) -> None:
    """A folder written by transformers holds either kind of file, whichever the authors publish."""
    code = "".join(path.read_text() for path in (PROJECT / "bin" / "scfm" / "models" / model).glob("*.py"))
    assert "weights_file(" not in code or "safetensors" in MODELS[model].packages


def _method_packages(process: str) -> set[str]:
    if process in {"CONTROL", "PCA"}:  # the PCA was computed by the preparation
        return {"numpy"}
    return set(METHODS[process.lower()].packages)


def test_only_scvi_scanvi_the_models_and_scores_on_a_gpu_bring_pytorch() -> None:
    heavy = {path.stem for path in LOCAL.rglob("environments/*.yml") if "torch" in _packages(path)}
    assert heavy == {"scvi", "scanvi", "gpu_scores", *MODELS}


def test_images_hold_every_environment_once_and_the_modules_name_them() -> None:
    files = {str(p.parent.relative_to(LOCAL)) for p in LOCAL.rglob("environment.yml")}
    files |= {str(p.relative_to(LOCAL).with_suffix("")) for p in LOCAL.rglob("environments/*.yml")}
    images = _images()
    listed = [name for names in images.values() for name in names]
    assert sorted(listed) == sorted(files)
    version = re.search(r"version +(?:=) '([\d.]+)'", (PROJECT / "nextflow.config").read_text())
    for module in LOCAL.rglob("main.nf"):
        image = re.search(r"^    container 'scfmbench/(\w+):([\d.]+)'$", module.read_text(), re.MULTILINE)
        assert image and str(module.parent.relative_to(LOCAL)) in images[image[1]], module
        assert version and image[2] == version[1]


def test_the_profile_gpu_names_what_can_use_one() -> None:
    able = {name.upper() for name, method in METHODS.items() if method.uses_gpu}
    able |= {name.upper() for name, model in MODELS.items() if model.uses_gpu}
    assert set(_blocks("gpu.config")) == able | {"TRAIN_QUERY"}


def test_the_profile_gpu_scores_names_what_takes_a_device_and_one_environment_of_all_their_packages() -> None:
    """The processes whose executables compute on the processor by default; none is in the profile ``gpu``."""
    able = {}
    for module in LOCAL.rglob("main.nf"):
        text, name = module.read_text(), "_".join(module.parts[-3:-1]).upper()
        script = re.search(r"^    (\w+\.py) \\\\$", text, re.MULTILINE)
        if "--device" in text and script and "add_device_argument" in (PROJECT / "bin" / script[1]).read_text():
            able[name] = module.parent
    blocks = _blocks("gpu_scores.config")
    assert set(blocks) == set(able)
    assert not set(blocks) & set(_blocks("gpu.config"))
    environment_name = "score/embedding/environments/gpu_scores"
    assert _images()["gpu_scores"] == [environment_name]
    for name, folder in able.items():
        assert "accelerator = 1" in blocks[name]
        assert "container   = 'scfmbench/gpu_scores:0.1.0'" in blocks[name]
        assert f"${{projectDir}}/modules/local/{environment_name}.yml" in blocks[name]
        own = _packages(folder / "environment.yml")
        assert own | {"torch"} <= _packages(LOCAL / f"{environment_name}.yml")


@pytest.mark.parametrize("module", sorted(LOCAL.rglob("main.nf")), ids=lambda path: "/".join(path.parts[-3:-1]))
def test_every_module_honours_ext_args_and_writes_its_versions(module: Path) -> None:
    text = module.read_text()
    script = text[text.index("    script:") : text.index("    stub:")]
    assert "def args = task.ext.args ?: ''" in script
    assert re.search(r"^        \$\{args\}$", script, re.MULTILINE)
    assert "<<'END" not in text
    if module.parent.name == "dataset" and module.parent.parent.name == "fetch":
        assert "versions.yml'" not in text  # a storeDir: the versions are in the record
    else:
        assert "path 'versions.yml'" in text


def test_the_packages_of_registries_and_requirements_are_reported_when_loaded() -> None:
    known = set(PACKAGES.values())
    for entry in [*METHODS.values(), *MODELS.values()]:
        assert set(entry.packages) <= known, entry.name
    needed = re.findall(r"^([\w-]+)", (PROJECT / "requirements" / "all.in").read_text(), re.MULTILINE)
    tools = {"hypothesis", "pytest", "pytest-httpserver", "pytest-xdist", "ruff", "mypy", "scib-metrics", "tqdm"}
    assert {name for name in needed if name not in known} <= tools


def test_versions_are_those_of_the_imported_packages(tmp_path: Path) -> None:
    import numpy as np

    assert loaded_packages(["sklearn", "sklearn.svm", "os", "umap"]) == ["scikit-learn", "umap-learn"]
    write_versions(tmp_path / "versions.yml", "A:B:HARMONY", ["numpy", "no-such-package"])
    assert yaml.safe_load((tmp_path / "versions.yml").read_text()) == {
        "A:B:HARMONY": {
            "numpy": np.__version__,
            "no-such-package": "absent",
            "python": ".".join(map(str, sys.version_info[:3])),
        }
    }


def test_an_executable_leaves_the_versions_of_what_it_did(tmp_path: Path) -> None:
    command = [
        sys.executable,
        PROJECT / "bin" / "write_stub.py",
        "neighbors",
        "--id",
        "a.pca.raw.0",
        "--process",
        "SCFMBENCH:FIND_NEIGHBORS",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, env=environment())
    versions = yaml.safe_load((tmp_path / "versions.yml").read_text())["SCFMBENCH:FIND_NEIGHBORS"]
    assert "numpy" in versions and "python" in versions and "torch" not in versions


@pytest.mark.parametrize("script", sorted(p.name for p in (PROJECT / "bin").glob("*.py")))
def test_an_executable_without_its_packages_says_so(script: str, tmp_path: Path) -> None:
    # -S hides every installed package; an executable must at least start, so that the error is a sentence
    done = subprocess.run(
        [sys.executable, "-S", PROJECT / "bin" / script, "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_package_is_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-S", PROJECT / "bin" / "write_stub.py", "neighbors", "--id", "a.pca.raw.0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_UNEXPECTED
    assert "ERROR: The Python package 'numpy' is not installed" in done.stderr and "env.sh" in done.stderr


FAKE_DOCKER = """#!/usr/bin/env bash
# runs the command behind the image's name on this machine
[ "$1" = run ] || exit 0
while [ $# -gt 0 ] && [[ "$1" != ghcr.io/* ]]; do shift; done
shift
exec "$@"
"""
OWN_CONFIG = """
docker.enabled = true
process {
    withName: SCVI {
        memory      = 3.GB
        container   = 'my/scvi:2'
        accelerator = 2
    }
    withName: UCE {
        memory      = 5.GB
        container   = 'my/uce:2'
        accelerator = 1
    }
}
"""


@pytest.mark.pipeline
@pytest.mark.parametrize("parser", [pytest.param("v1", marks=pytest.mark.slow), "v2"])
def test_a_users_config_changes_one_method_and_one_model_alone(parser: str, tmp_path: Path, monkeypatch) -> None:
    """Memory, container and accelerator as the container engine gets them: a stub run with a stand-in for docker."""
    docker = tmp_path / "tools" / "docker"
    docker.parent.mkdir()
    docker.write_text(FAKE_DOCKER)
    docker.chmod(docker.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{docker.parent}{os.pathsep}{os.environ['PATH']}")
    for model in ("scgpt", "uce"):
        (tmp_path / "weights" / model).mkdir(parents=True)
    (tmp_path / "own.config").write_text(OWN_CONFIG)
    sheet = PROJECT / "tests" / "data" / "demo_samplesheet.csv"
    options = [
        "-stub",
        "-c",
        "own.config",
        "--input",
        str(sheet),
        "--weights_dir",
        "weights",
        "--skip_probing",
        "--skip_umap",
        "--skip_diagnosis",
    ]
    asked = ["--methods", "harmony,scvi", "--controls", "none", "--models", "scgpt,uce", "--corrections", "none"]
    run = run_pipeline(tmp_path, *options, *asked, parser=parser)
    assert run.status == 0, run.log
    done = set(names_of(run.trace(), "COMPLETED"))
    assert {"HARMONY", "SCVI", "SCGPT", "UCE"} <= done
    assert not {"PCA", "COMBAT", "CONTROL", "GENEFORMER"} & done  # stubs honour --methods and --models
    found = {}
    for path in tmp_path.glob("work/*/*/.command.run"):
        text = path.read_text()
        process = re.search(r"^### name: '.*:(\w+) ", text, re.MULTILINE)
        command = r"^ *docker run .* --memory (\d+)m .* ghcr.io/((?:scfmbench|my)/\S+) /bin/bash"
        launch = re.search(command, text, re.MULTILINE)
        if process and launch and process[1] in FOLDERS:
            found[process[1]] = (int(launch[1]), launch[2], "--gpus all" in launch[0])
    assert found["SCVI"] == (3072, "my/scvi:2", True)
    assert found["UCE"] == (5120, "my/uce:2", True)
    others = {name: (image, gpu) for name, (_, image, gpu) in found.items() if name not in {"SCVI", "UCE"}}
    assert others == {"HARMONY": ("scfmbench/harmony:0.1.0", False), "SCGPT": ("scfmbench/models:0.1.0", False)}
    assert not {memory for name, (memory, _, _) in found.items() if name in others} & {3072, 5120}
