"""Parameters, samplesheet, plan, the methods table, and the executable around them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from helpers_data import INPUT_SCHEMA, ROOT, SCHEMA, assert_says, check, defaults, make_adata, write
from scfm.errors import ScfmError
from scfm.inputs.params import check_params, properties_of
from scfm.inputs.samplesheet import Located, check_rows, read_samplesheet, resolve_embeddings
from scfm.io.tables import read_table
from scfm.registries.corrections import load_corrections
from scfm.registries.methods import get_method, load_methods

CORRECTIONS = load_corrections()
BASE = {"input": "s.csv", "outdir": "results"}


def _errors(**params: object) -> list[str]:
    """Return the errors of parameters on top of valid ones."""
    return check_params({**BASE, **params}, SCHEMA, load_methods())[1]


# --- schema -----------------------------------------------------------------------------------------------------------


def test_schema_is_valid_and_its_defaults_pass():
    Draft202012Validator.check_schema(SCHEMA)
    groups = SCHEMA["$defs"]
    assert [entry["$ref"] for entry in SCHEMA["allOf"]] == [f"#/$defs/{name}" for name in groups]
    names = [n for g in groups.values() for n in g["properties"]]
    assert len(names) == len(set(names)), "a parameter is in two groups"
    for name, spec in properties_of(SCHEMA).items():
        assert spec["description"].endswith("."), name
        assert "type" in spec, name
        assert _errors(**(BASE | {name: object()})), f"{name}: a value of a wrong kind has no sentence"
    given = {k: v for k, v in defaults(**BASE).items() if v is not None}
    assert list(Draft202012Validator(SCHEMA).iter_errors(given)) == []
    assert _errors(**defaults(**BASE)) == []


def test_the_example_in_a_sentence_is_one_of_its_parameter():
    for name, spec in properties_of(SCHEMA).items():
        if "pattern" not in spec:
            continue
        sentence = next(text for text in _errors(**(BASE | {name: "?"})) if f"--{name} is" in text)
        example = sentence.partition("(for instance '")[2].partition("')")[0]
        assert example in {spec.get("default"), *spec.get("examples", [])}, sentence
        assert list(Draft202012Validator(spec).iter_errors(example)) == [], sentence


def test_correction_names_agree_with_the_help_text():
    text = properties_of(SCHEMA)["corrections"]["help_text"]
    assert all(f"`{name}`" in text for name in CORRECTIONS)


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"n_hvgs": 5}, ["Unknown parameter '--n_hvgs'. Did you mean '--n_hvg'?"]),
        ({"n-hvg": 5}, ["Unknown parameter '--n-hvg'. Did you mean '--n_hvg'?"]),
        ({"nHvg": 5}, ["Unknown parameter '--nHvg'. Did you mean '--n_hvg'?"]),
        ({"xyzzy": 5}, ["Unknown parameter '--xyzzy'. 'nextflow run"]),
        ({"n_hvg": "abc"}, ["--n_hvg is 'abc'; expected a whole number, at least 10."]),
        ({"n_hvg": 2.5}, ["--n_hvg is '2.5'; expected a whole number"]),
        ({"n_hvg": 3}, ["--n_hvg is 3; expected a value at least 10."]),
        (
            {"scvi_validation_share": 0.9},
            ["--scvi_validation_share is 0.9; expected a value at least 0 and at most 0.5."],
        ),
        ({"round_counts": "yes"}, ["--round_counts is 'yes'; expected true or false."]),
        ({"hvg_flavor": "cell-ranger"}, ["--hvg_flavor is 'cell-ranger'", "Did you mean 'cell_ranger'?"]),
        ({"metrics_profile": "scib"}, ["--metrics_profile is 'scib'; expected one of paper, standard, full."]),
        ({"seeds": "0;1"}, ["--seeds is '0;1'", "comma list of whole numbers"]),
        ({"seeds": -1}, ["--seeds is -1"]),
        ({"total_weights": "0.6,2"}, ["--total_weights is '0.6,2'"]),
        ({"methods": "pca,harmny"}, ["unknown method 'harmny'. Did you mean 'harmony'?"]),
        ({"methods": "pca,all"}, ["'all' can't be combined with other names"]),
        ({"methods": "shuffled"}, ["'shuffled' belongs to --controls"]),
        ({"controls": "pca"}, ["'pca' belongs to --methods"]),
        ({"controls": "randm"}, ["unknown control 'randm'. Did you mean 'random'?"]),
        ({"corrections": "centre"}, ["unknown correction 'centre'. Did you mean 'center'?"]),
        ({"input": None}, ["Parameter --input is missing"]),
        ({"hvg_exclude": "gone.txt"}, ["--hvg_exclude: the file 'gone.txt' does not exist"]),
    ],
)
def test_wrong_parameter_is_one_sentence(params, words):
    errors = _errors(**params)
    assert_says(errors, *words)
    assert len(errors) == 1


@pytest.mark.parametrize(
    "params",
    [
        {"seeds": 0},
        {"seeds": "0,1, 2"},
        {"total_weights": 0.5},
        {"total_weights": "0.6,0.5"},
        {"total_weights": 1},
        {"harmony_theta": 2},
        {"probe_c": 1},
        {"scvi_max_epochs": None},
        {"n_hvg": 500, "n-hvg": 500, "nHvg": 500},
        {"methods": "none", "controls": "none"},
        {"corrections": "l2, center"},
    ],
)
def test_what_nextflow_hands_over_is_accepted(params):
    assert _errors(**params) == []


def test_files_of_parameters_are_looked_for_where_they_are_staged(tmp_path):
    path = tmp_path / "genes.txt"
    path.write_text("CD4")

    def errors(staged: dict | None, name: str) -> list[str]:
        return check_params({**BASE, "hvg_force": name}, SCHEMA, load_methods(), staged)[1]

    assert errors({"genes.txt": str(path)}, "genes.txt") == []
    assert errors({}, "genes.txt") == []  # PREPARE_DATASET stages it and would say so
    assert errors(None, str(path)) == []
    assert_says(errors({"genes.txt": ""}, "genes.txt"), "--hvg_force: the file 'genes.txt' does not exist")


def test_choice():
    choice, errors = check_params(
        {**BASE, "methods": "scvi,pca,scvi", "controls": "none", "corrections": "all", "seeds": "3,1,3"},
        SCHEMA,
        load_methods(),
    )
    assert errors == []
    assert (choice.methods, choice.controls, choice.corrections, choice.seeds) == (
        ["scvi", "pca"],
        [],
        list(CORRECTIONS),
        [3, 1],
    )
    everything, _ = check_params(BASE, SCHEMA, load_methods())
    assert everything.methods == [
        "pca",
        "harmony",
        "scanorama",
        "scvi",
        "scanvi",
        "combat",
        "linear",
        "fastmnn",
        "bbknn",
    ]
    with_r, errors = check_params({**BASE, "methods": "all,seurat_rpca"}, SCHEMA, load_methods())
    assert errors == [] and with_r.methods == [*everything.methods, "seurat_rpca"]
    _, errors = check_params({**BASE, "methods": "all,seurat_rpca,pca"}, SCHEMA, load_methods())
    assert errors == ["Parameter --methods: 'all' can't be combined with other names."]
    assert everything.controls == [
        "random",
        "shuffled",
        "shuffled_within_batch",
        "shuffled_within_label",
        "label_onehot",
    ]


@settings(deadline=None)  # the schema is validated whole: slow on a busy machine
@given(
    st.dictionaries(
        st.text(max_size=12),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=8),
            st.lists(st.integers(), max_size=3),
        ),
        max_size=5,
    )
)
def test_any_parameters_give_sentences_and_no_exception(params):
    known = properties_of(SCHEMA)
    errors = _errors(**params)
    assert all(isinstance(error, str) and error for error in errors)
    for name in params:
        if name not in known:
            assert any(f"'--{name}'" in error for error in errors)


# --- samplesheet ------------------------------------------------------------------------------------------------------


def test_samplesheet_errors_all_at_once():
    rows = [
        {"dataset": "a b", "h5ad": "x.h5ad", "batch_key": "b", "lable_key": "l"},
        {"dataset": "ok", "h5ad": "x.txt", "batch_role": "biolgical", "lable_key": "l"},
        {"dataset": "ok", "h5ad": "y.zarr", "batch_key": "b", "lable_key": "l"},
    ]
    errors = check_rows(rows, INPUT_SCHEMA, "s.csv")
    assert_says(errors, "there is no column 'label_key'", "Is it 'lable_key', which is there?")
    assert_says(errors, "unknown column 'lable_key'. Did you mean 'label_key'?")
    assert_says(errors, "row 2, column 'dataset': 'a b' is not allowed; use letters, digits")
    assert_says(errors, "row 3, column 'h5ad': 'x.txt' is not allowed")
    assert_says(errors, "row 3, column 'batch_role': 'biolgical'", "Did you mean 'biological'?")
    assert_says(errors, "row 3: no value in column 'batch_key'")
    assert_says(errors, "the dataset name 'ok' is in 2 rows")
    assert len(errors) == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("dataset,h5ad\n", "is empty"),
        ("a,b\n1,2,3\n", "row 2 has 3 values, the header has 2 columns"),
        ("dataset\th5ad\na\tx.h5ad\n", "the header has tabs and no commas"),
        ("dataset;h5ad\na;x.h5ad\n", "the header has semicolons and no commas"),
        ("a,a\n1,2\n", "the column 'a' occurs more than once"),
    ],
)
def test_broken_samplesheet(tmp_path, text, words):
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(ScfmError, match=words):
        read_samplesheet(path)


def test_samplesheet_of_a_spreadsheet(tmp_path):
    """Byte order mark, Windows line ends, blanks and empty lines do no harm."""
    path = tmp_path / "s.csv"
    path.write_bytes('\ufeffdataset, h5ad ,batch_key\r\n a , "x,y.h5ad",\r\n,,\r\n'.encode())
    assert read_samplesheet(path) == [{"dataset": "a", "h5ad": "x,y.h5ad"}]


def test_embeddings_column(tmp_path):
    (tmp_path / "tables").mkdir()
    for name in ("geneformer.parquet", "uce.csv.gz", "notes.txt"):
        (tmp_path / "tables" / name).touch()
    (tmp_path / "mine.npz").touch()
    located = Located(None, tmp_path)
    found, errors = resolve_embeddings(
        {"embeddings": "tables; own=mine.npz ; obsm:X_scvi;gf = obsm:X_gf"}, located, ["pca"], "row 2"
    )
    assert errors == []
    assert found == {
        "geneformer": "tables/geneformer.parquet",
        "uce": "tables/uce.csv.gz",
        "own": "mine.npz",
        "scvi": "obsm:X_scvi",
        "gf": "obsm:X_gf",
    }
    _, errors = resolve_embeddings(
        {"embeddings": "pca=mine.npz;own=mine.npz;own=obsm:X;gone.csv;a.b=mine.npz;t=tables/notes.txt"},
        located,
        ["pca"],
        "row 2",
    )
    for parts in (
        ("'pca' is the name of a method",),
        ("the name 'own' is a duplicate",),
        ("'gone.csv' does not exist",),
        ("'a.b' can't be the name",),
        ("'tables/notes.txt' is of no known kind",),
    ):
        assert_says(errors, *parts)


def test_staged_paths_are_used_and_absent_ones_are_errors(tmp_path):
    path = write(make_adata(), tmp_path / "0001.h5ad")
    staged = Located({"s3://bucket/d.h5ad": str(path)})
    assert staged.find("s3://bucket/d.h5ad") == path
    assert staged.find("d.h5ad") is None


# --- plan -------------------------------------------------------------------------------------------------------------


def test_plan_holds_every_embedding(tmp_path):
    data = make_adata()
    data.obsm["X_own"] = np.zeros((60, 2))
    write(data, tmp_path / "d.h5ad")
    row = {"dataset": "d", "h5ad": "d.h5ad", "batch_key": "batch", "label_key": "cell_type", "embeddings": "obsm:X_own"}
    outcome = check(
        tmp_path, [row], methods="pca,scvi", controls="random,label_onehot", corrections="center,l2", seeds="7,8"
    )
    assert outcome.errors == []
    assert [r["embedding"] for r in outcome.plan] == [
        "pca.raw.7",
        "pca.center.7",
        "pca.l2.7",
        "scvi.raw.7",
        "scvi.center.7",
        "scvi.l2.7",
        "scvi.raw.8",
        "scvi.center.8",
        "scvi.l2.8",
        "random.raw.7",
        "random.raw.8",
        "label_onehot.raw.7",
        "own.raw.7",
        "own.center.7",
        "own.l2.7",
    ]
    assert {r["family"] for r in outcome.plan if r["method"] == "own"} == {"imported"}
    assert_says(check(tmp_path, [{**row, "embeddings": ""}], methods="none", controls="none").errors, "nothing to do")
    assert_says(
        check(tmp_path, [{**row, "embeddings": "obsm:X_on"}]).errors,
        "there is no obsm key 'X_on'",
        "Did you mean 'X_own'?",
    )


# --- methods table ----------------------------------------------------------------------------------------------------


def test_methods_table():
    methods = load_methods()
    assert methods["scvi"].uses_gpu and methods["scvi"].stochastic and methods["scvi"].family == "generative"
    assert not methods["pca"].stochastic and methods["pca"].reads == ("pca", "obs")
    assert methods["label_onehot"].is_control and methods["label_onehot"].needs_labels
    with pytest.raises(ScfmError, match=r"Unknown method 'scvii'\. Did you mean 'scvi'"):
        get_method("scvii")


def test_every_method_has_its_code():
    code = ROOT / "bin" / "scfm" / "integration"
    for name in load_methods():
        assert (code / f"{name}.py").is_file(), (
            f"{name} is in assets/methods.tsv and has no bin/scfm/integration/{name}.py"
        )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("\tnone\tembedding", "\tnon\tembedding", "row 2, column 'family': 'non' is not one of"),
        (
            "\t\tfalse\tfalse\tfalse\tpca,obs\t",
            "\t\tperhaps\tfalse\tfalse\tpca,obs\t",
            "row 2, column 'stochastic': 'perhaps' is not of type 'boolean'",
        ),
        ("harmony\tHarmony", "pca\tHarmony", "row 3, column 'name': 'pca' is a duplicate"),
        ("\treads\t", "\treds\t", r"lacks \['reads'\] and has unknown \['reds'\]"),
        ("pca,prepared,obs\tharmonypy", "pca,x\tharmonypy", "row 3, column 'reads': 'x' is not one of"),
    ],
)
def test_wrong_methods_table_names_row_and_column(tmp_path, old, new, words):
    text = (ROOT / "assets" / "methods.tsv").read_text()
    assert old in text
    path = tmp_path / "methods.tsv"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ScfmError, match=words):
        load_methods(path)


# --- executable -------------------------------------------------------------------------------------------------------


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run check_inputs.py in a folder."""
    command = [
        sys.executable,
        str(ROOT / "bin" / "check_inputs.py"),
        "--quiet",
        "--params",
        "params.json",
        "--input",
        "s.csv",
        *arguments,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_executable_writes_its_four_files(tmp_path):
    write(make_adata(), tmp_path / "staged.h5ad")
    (tmp_path / "s.csv").write_text("dataset,h5ad,batch_key,label_key\nd,far/away.h5ad,batch,cell_type\n")
    (tmp_path / "params.json").write_text(
        json.dumps({"input": "s.csv", "outdir": "results", "seeds": 0, "neighbors_k": 16})
    )
    (tmp_path / "staged.json").write_text(json.dumps({"far/away.h5ad": "staged.h5ad"}))
    done = _run(tmp_path, "--staged", "staged.json", "--outdir", "out", "--fail")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "errors.txt").read_text() == ""
    assert json.loads((tmp_path / "out" / "datasets.json").read_text())[0]["h5ad"] == "far/away.h5ad"
    assert json.loads((tmp_path / "out" / "input_warnings.json").read_text()) == []
    plan = read_table(tmp_path / "out" / "plan.tsv")
    assert len(plan) == 30  # 8 methods raw, with l2 and with center_l2, a graph as it is, 5 controls
    assert plan["is_control"].dtype == bool and plan["is_control"].sum() == 5
    assert isinstance(plan, pd.DataFrame) and list(plan.columns)[:2] == ["dataset", "embedding"]


def test_executable_reports_errors_either_way(tmp_path):
    (tmp_path / "s.csv").write_text("dataset,h5ad,batch_key,label_key\nd,gone.h5ad,batch,cell_type\n")
    (tmp_path / "params.json").write_text(json.dumps({"input": "s.csv", "outdir": "results", "methods": "nope"}))
    (tmp_path / "staged.json").write_text("{}")
    quiet = _run(tmp_path, "--staged", "staged.json")
    assert quiet.returncode == 0
    errors = (tmp_path / "errors.txt").read_text().splitlines()
    assert_says(errors, "'gone.h5ad' does not exist")
    assert_says(errors, "unknown method 'nope'")
    loud = _run(tmp_path, "--staged", "staged.json", "--fail")
    assert loud.returncode == 2
    assert [line.removeprefix("ERROR: ") for line in loud.stderr.splitlines()] == errors


def test_names_that_differ_only_in_case_are_refused(tmp_path):
    rows = [{"dataset": n, "h5ad": "a.h5ad", "batch_key": "b", "label_key": "l"} for n in ("d", "D", "other")]
    (error,) = check_rows(rows, INPUT_SCHEMA, "s.csv")
    assert "dataset names 'D', 'd' differ only in case" in error
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("x")
    row = {"embeddings": "PCA=a.csv;mine=a.csv;Mine=b.csv"}
    _, errors = resolve_embeddings(row, Located(None, tmp_path), ["pca", "harmony"], "d")
    assert len(errors) == 2, errors
    assert "'PCA' is the name of a method, 'pca' but for case" in errors[0]
    assert "the name 'Mine' is a duplicate of 'mine' but for case" in errors[1]
