"""What a run checks before anything is computed: its output folder, and paths with odd characters; its last line."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess

import pytest

from helpers_pipeline import PROJECT, environment

pytestmark = pytest.mark.pipeline

#: calls the functions that a run calls at its start (main.nf), each on its own
SCRIPT = """
include { findPath; samplesheetPaths; weightFiles } from '%s/subworkflows/local/utils_scfmbench'
include { completionSentence; requireLinkable } from '%s/subworkflows/local/utils_scfmbench/run'
include { lockFolder; requireSpace; requireWritable } from '%s/subworkflows/local/utils_scfmbench/run'

workflow {
    def sheet = file('sheet.csv')
    samplesheetPaths(sheet).each { text -> println("path ${text} -> ${findPath(sheet, text)?.name}") }
    println("weights ${weightFiles(params.weights)}")
    attempt { requireWritable('taken', file('sheet.csv').resolve('pipeline_info')) }
    attempt { requireSpace('here', file('.'), file('large.csv')) }
    attempt { requireSpace('here', file('.'), sheet) }
    attempt { lockFolder('held', file('held')) }
    attempt { lockFolder('free', file('free')) }
    attempt { requireLinkable([:], sheet) }
    attempt { requireLinkable([sweep: 'a[2].yml'], file('large.csv')) }
    ['SIGTERM', 'The inputs have errors'].each { why ->
        def run = [preview: false, success: false, errorMessage: why, stats: [ignoredCount: 0]]
        println("ended ${completionSentence(run, [outdir: 'free'])}")
    }
}

def attempt(action) {
    try {
        action.call()
        println('passed')
    }
    catch (Exception reason) {
        println("refused ${reason.cause.message}")
    }
}
"""
ODD = ["a[1]*.h5ad", "b$HOME.h5ad", "c?{x,y}.csv", "d 'e'.h5ad"]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the script prints, with one folder locked by this process and one input of ten terabytes (a sparse file)."""
    folder = tmp_path_factory.mktemp("start")
    for name in [*ODD, "a1.h5ad"]:
        (folder / name).write_text("x")
    os.mkfifo(folder / "pipe.h5ad")
    with (folder / "huge.h5ad").open("w") as huge:
        huge.truncate(10 * 2**40)
    rows = [f'{i},"{name}",' for i, name in enumerate([*ODD, "pipe.h5ad", "a*.h5ad"])]
    (folder / "sheet.csv").write_text("\n".join(["dataset,h5ad,embeddings", *rows]) + "\n")
    (folder / "a[2].yml").write_text("")
    (folder / "large.csv").write_text("dataset,h5ad\na,huge.h5ad\n")
    for path in ("w[0]/m/x.ckpt", "w[0]/m/sub/y.json", "held/.lock", "free/x"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("")
    (folder / "start.nf").write_text(SCRIPT % (PROJECT, PROJECT, PROJECT))
    with (folder / "held" / ".lock").open("w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        done = subprocess.run(
            ["nextflow", "run", "start.nf", "--weights", "w[0]"],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


def test_letters_of_a_glob_and_a_shell_are_letters_of_a_path(lines: list[str]) -> None:
    found = dict(line.removeprefix("path ").split(" -> ") for line in lines if line.startswith("path "))
    # a pipe is a path too: the check refuses it by name (test_bad_inputs.py)
    assert found == {name: name for name in [*ODD, "pipe.h5ad"]} | {"a*.h5ad": "null"}
    assert "weights [m:[sub/y.json, x.ckpt]]" in lines


def test_an_outdir_that_cannot_be_used_is_a_sentence(lines: list[str]) -> None:
    told = [line for line in lines if line.startswith(("refused ", "passed"))]
    assert told[0].startswith("refused --outdir: the folder 'taken' can't be written. Nothing was computed.")
    space = re.match(r"refused --outdir: 'here' has (\d+) MB left, and this run needs (\d+) MB or more", told[1])
    assert space and int(space[1]) < int(space[2]) == 10 * 2**20 + 16
    assert told[2] == "passed"
    assert told[3].startswith("refused --outdir: another run is writing to 'held'. Wait for its end")
    assert told[4] == "passed"


def test_a_path_that_a_shell_would_change_is_refused_and_another_with_such_letters_is_not(lines: list[str]) -> None:
    told = [line for line in lines if line.startswith(("refused ", "passed"))]
    # Nextflow links inputs by a line of shell in which these letters are not quoted
    assert told[5].startswith("refused Nothing was computed: the paths ")
    named = re.findall(r"/([^/']*)'[, ]", told[5].partition(" can't be handed")[0] + " ")
    assert named == ["a[1]*.h5ad", "b$HOME.h5ad", "c?{x,y}.csv"]  # the first would be a1.h5ad
    assert told[6] == "passed"


def test_the_last_line_of_a_run_that_was_ended_names_the_signal(lines: list[str]) -> None:
    by_signal, by_error = [line for line in lines if line.startswith("ended ")]
    # nothing is printed above it that could be read as the reason
    assert "the signal SIGTERM" in by_signal and "-resume" in by_signal and "above" not in by_signal
    assert by_error.endswith("the reason is above.")
