"""What batch systems are asked for: the pipeline's configuration on a workflow of tiny tasks, two per system."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from helpers_pipeline import PROJECT, environment
from helpers_schedulers import path_with, submitted, write_schedulers

pytestmark = pytest.mark.pipeline

EXECUTORS = ["slurm", "pbs", "pbspro", "lsf", "sge"]
#: a task of a million cells by 20,000 genes on each batch system, and one that uses a GPU
WORKFLOW = """
process {name} {{
    label 'process_low'
    {accelerator}
    ext data: {{ [cells: 1000000, columns: 20000] }}
    script: "echo ${{task.cpus}} ${{task.memory.toMega()}}"
}}
"""
CONFIG = """
process.ext.args = ''
params {{ {params} }}
includeConfig '{project}/conf/base.config'
includeConfig '{project}/conf/executors.config'
process.penv = 'smp'
executor.pollInterval = '200 ms'
{config}
"""
#: Nextflow asks for the state of a job at once, and waits a second for its exit status
SOON = """
process.executor           = 'slurm'
executor.queueStatInterval = '200 ms'
executor.exitReadTimeout   = '1 s'
"""
#: a task that says which try it is
LOST = """
process LOST {
    label 'per_embedding'
    output: stdout
    script: "echo try ${task.attempt}"
}
workflow { LOST().view() }
"""
#: 1 GiB, and 20 GiB for a million cells by 20,000 columns
RESOURCES = "process\tmb\tkb_per_cell\tbytes_per_value\tseconds_per_1000_cells\ndefault\t1024\t0\t1.073741824\t1\n"
NEEDED = r"\b(21504(M|MB|mb)?|21gb|22020096)\b"
NAMES = [
    "max_cpus",
    "max_memory",
    "max_time",
    "queue",
    "gpu_queue",
    "account",
    "cluster_options",
    "gpu_cluster_options",
]


def _submit(folder: Path, parser: str, **asked: str) -> dict[str, str]:
    """Submit every task to its batch system; directives by name of the job."""
    processes = {f"{name.upper()}{kind}": (name, kind) for name in EXECUTORS for kind in ("", "_GPU")}
    processes["HERE"] = ("local", "")
    text = "".join(
        WORKFLOW.format(name=name, accelerator="accelerator 2" if kind else "") for name, (_, kind) in processes.items()
    )
    lines = [f"    withName: {name} {{ executor = '{executor}' }}" for name, (executor, _) in processes.items()]
    config = "\n".join(["process {", *lines, "    withName: HERE { cpus = 4096 }", "}"])
    text += "workflow {\n" + "".join(f"    {name}()\n" for name in processes) + "}\n"
    tools = write_schedulers(folder / "tools")
    _run(folder, parser, text, config, **asked)
    found = submitted(tools)
    assert set(found) == {f"nf-{name}" for name in processes if name != "HERE"}
    return {name.removeprefix("nf-"): lines for name, lines in found.items()}


def _run(folder: Path, parser: str, workflow: str, config: str, **asked: str) -> str:
    """Run a workflow on the batch systems in ``<folder>/tools``; return what it printed."""
    (folder / "main.nf").write_text(workflow)
    params = {name: asked.get(name) for name in NAMES} | {"on_method_error": "continue"}
    (folder / "nextflow.config").write_text(
        CONFIG.format(
            project=PROJECT,
            params="\n".join(f"{name} = {'null' if value is None else repr(value)}" for name, value in params.items()),
            config=config,
        )
    )
    (folder / "assets").mkdir()
    (folder / "assets" / "resources.tsv").write_text(RESOURCES)
    done = subprocess.run(
        ["nextflow", "run", "main.nf"],
        cwd=folder,
        env=environment()
        | {
            "NXF_SYNTAX_PARSER": parser,
            "PATH": path_with(folder / "tools", environment()["PATH"]),
            "NXF_OPTS": "-XX:ActiveProcessorCount=1 -Xmx300m",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _is_local(script: Path) -> bool:
    return re.search(r"^### name: 'HERE'", (script.parent / ".command.run").read_text(), re.MULTILINE) is not None


def test_every_batch_system_is_asked_for_memory_queue_account_and_gpus(tmp_path: Path) -> None:
    """One core and a heap of 300 MB for Nextflow: a small head node shrinks no request."""
    jobs = _submit(
        tmp_path / "run", "v2", queue="long", gpu_queue="cuda", account="lab7", cluster_options="--of-user yes"
    )
    for name, text in jobs.items():
        queue = "cuda" if name.endswith("_GPU") else "long"
        assert re.search(rf"^#(\$|PBS|BSUB|SBATCH) (-q|-p) {queue}$", text, re.MULTILINE), text
        assert re.search(r"(--account=|-A |-P )lab7\b", text), text
        assert "--of-user yes" in text, text
        assert re.search(NEEDED, text), text
    requests = {
        "SLURM_GPU": "#SBATCH --gres=gpu:2",
        "PBS_GPU": "#PBS -l nodes=1:ppn=1:gpus=2",
        "PBSPRO_GPU": "#PBS -l select=1:ncpus=1:mem=21504mb:ngpus=2",
        "LSF_GPU": "#BSUB -gpu num=2",
        "SGE_GPU": "#$ -l gpu=2",
    }
    for name, request in requests.items():
        assert request in jobs[name], jobs[name]
        assert "gpu" not in jobs[name.removesuffix("_GPU")]
    # a local task gets what the machine has, whatever it asks for
    script = next(path for path in tmp_path.glob("run/work/*/*/.command.sh") if _is_local(path))
    cpus, memory = (int(number) for number in re.findall(r"(\d+)", script.read_text().splitlines()[-1]))
    assert cpus == 1 and memory <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def test_limits_of_a_user_and_a_gpu_request_of_a_site_replace_the_defaults(tmp_path: Path) -> None:
    jobs = _submit(
        tmp_path / "run",
        "v1",
        max_memory="10.GB",
        max_time="90.min",
        gpu_cluster_options="-of-site a100",
    )
    for name, text in jobs.items():
        assert re.search(r"\b(10240(M|MB|mb)?|10gb|10485760)\b", text), text
        assert re.search(r"\b0?1:30", text), text
        assert ("-of-site a100" in text) == name.endswith("_GPU")
        assert not re.search(r" (-q|-p|-A) ", text), text  # unset: no queue, no account


def test_a_job_that_ends_without_an_exit_status_is_submitted_again(tmp_path: Path) -> None:
    """As one that its scheduler ends before Nextflow's wrapper can write one."""
    tools = write_schedulers(tmp_path / "tools", lost=1)
    said = _run(tmp_path, "v2", LOST, SOON)
    assert "try 2" in said and "try 1" not in said, said
    assert len(list(tools.glob("*.txt"))) == 2
