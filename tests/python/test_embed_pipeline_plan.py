"""The check of a run covers the models: names, settings, weights, licences, organisms and gene ids, before anything
is computed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers_data import INPUT_SCHEMA, ROOT, SCHEMA, assert_says, make_adata, write, write_sheet
from scfm.inputs.samplesheet import Located
from scfm.models import available_models, load_model, model_class
from scfm.models.core.settings import make_settings
from scfm.planning.check import Outcome, check_run
from scfm.planning.model_options import read_options
from scfm.planning.models import Models, fill_settings
from scfm.planning.plan import COLUMNS, plan_text
from scfm.registries.methods import load_methods
from scfm.registries.models import load_model_table
from scfm.report.tables.load import read_plan
from weights_listing import WEIGHTS, complete_listing

TABLE = load_model_table()
IDS = {"gene_id_column": "ensembl"}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a data set of symbols (index) and Ensembl ids (column)."""
    data = make_adata()
    data.var["ensembl"] = [f"ENSG{i:011d}" for i in range(data.n_vars)]
    write(data, tmp_path / "d.h5ad")
    return tmp_path


def _check(
    folder: Path, *, row: dict | None = None, weights: dict | None = None, staged: dict | None = None, **params: object
) -> Outcome:
    base = {"dataset": "d", "h5ad": "d.h5ad", "batch_key": "batch", "label_key": "cell_type", **IDS}
    sheet = write_sheet(folder, [{k: v for k, v in (base | (row or {})).items() if v}])
    params = {
        "methods": "none",
        "controls": "none",
        "input": str(sheet),
        "outdir": "results",
        "weights_dir": "w",
        **params,
    }
    return check_run(
        params,
        schema=SCHEMA,
        input_schema=INPUT_SCHEMA,
        methods=load_methods(),
        samplesheet=sheet,
        located=Located(staged, folder),
        model_table=TABLE,
        weights_table=WEIGHTS,
        weights=complete_listing() if weights is None else weights,
    )


def _status(outcome: Outcome) -> dict[str, tuple[str, str]]:
    """Return ``{method: (status, code)}`` of the raw rows."""
    return {r["method"]: (r["status"], r["reason_code"]) for r in outcome.plan if r["correction"] == "raw"}


# --- plan -------------------------------------------------------------------------------------------------------------


def test_rows_of_models_seeds_corrections_and_random_twins(folder) -> None:
    found = _check(folder, models="geneformer,uce", seeds="3,4", corrections="center,l2", random_init=True)
    assert found.errors == []
    names = [r["embedding"] for r in found.plan]
    assert names == [
        "geneformer.raw.3",
        "geneformer.center.3",
        "geneformer.l2.3",
        "geneformer_random.raw.3",
        "geneformer_random.raw.4",
        *[f"uce.{v}.{s}" for s in (3, 4) for v in ("raw", "center", "l2")],
        "uce_random.raw.3",
        "uce_random.raw.4",
    ]
    for row in found.plan:
        assert set(row) == set(COLUMNS) and row["status"] == row["reason"] == ""
        assert (row["family"], row["is_control"]) == ("foundation_model", row["method"].endswith("_random"))
        assert row["model"] == row["method"].removesuffix("_random")


def test_methods_have_the_columns_too(folder) -> None:
    rows = _check(folder, methods="scvi,pca", controls="random").plan
    assert {(r["method"], r["model"], r["status"]) for r in rows} == {
        ("scvi", "", ""),
        ("pca", "", ""),
        ("random", "", ""),
    }


def test_the_report_reads_what_the_check_writes(folder, tmp_path) -> None:
    found = _check(folder, models="all", weights={"scgpt": None}, random_init=True, seeds="0")
    (tmp_path / "plan.tsv").write_text(plan_text(found.plan))
    plan = read_plan(tmp_path / "plan.tsv")
    assert len(plan) == len(found.plan) == 8 * 4 and set(plan["status"]) == {"not_applicable"}
    assert list(plan["reason"]) == [r["reason"] for r in found.plan]


def test_reasons_with_tabs_stay_on_one_line() -> None:
    row = dict.fromkeys(COLUMNS, "x") | {"reason": "a\tb\nc", "is_control": True}
    assert plan_text([row]).splitlines()[1].split("\t")[-1] == "a b c"


# --- what keeps a model from running ----------------------------------------------------------------------------------


def test_all_models_can_run_on_human_cells_with_both_kinds_of_names(folder) -> None:
    found = _check(folder, models="all", row={"organism": "Homo sapiens"}, accept_license="scfoundation")
    assert found.errors == [] and _status(found) == dict.fromkeys(TABLE, ("", ""))


@pytest.mark.parametrize("weights", [{}, {"scgpt": None}, {"scgpt": []}, {"scgpt": ["readme.txt"]}])
def test_missing_weights_give_the_command(folder, weights) -> None:
    row = next(r for r in _check(folder, models="scgpt", weights=weights).plan if r["correction"] == "raw")
    assert (row["status"], row["reason_code"]) == ("not_applicable", "weights_missing")
    assert row["reason"].startswith("Weights missing in w/scgpt: 'best_model.pt', 'args.json', 'vocab.json' of scGPT")
    assert row["reason"].endswith("bin/fetch_weights.py --model scgpt --dest w")


def test_weights_dir_that_was_not_given(folder) -> None:
    reason = _check(folder, models="scgpt", weights={}, weights_dir=None).plan[0]["reason"]
    assert "--weights_dir" in reason and "bin/fetch_weights.py --model scgpt --dest DIR" in reason


def test_a_restricted_licence_must_be_accepted(folder) -> None:
    found = _check(folder, models="scfoundation,scgpt")
    assert _status(found) == {"scgpt": ("", ""), "scfoundation": ("not_applicable", "license_not_accepted")}
    assert "add --accept_license scfoundation" in found.plan[0]["reason"]
    assert _status(_check(folder, models="scfoundation", accept_license="scfoundation"))["scfoundation"] == ("", "")
    both = _check(folder, models="scfoundation", weights={}).plan[0]
    assert (
        both["reason_code"] == "weights_missing"
        and "fetch_weights.py" in both["reason"]
        and "--accept_license" in both["reason"]
    )


def test_random_weights_need_no_licence_and_part_of_the_files_is_not_enough(folder) -> None:
    listing = complete_listing()["scfoundation"]
    assert _status(_check(folder, models="scfoundation", weights={"scfoundation": [*listing, "RANDOM_WEIGHTS.txt"]}))[
        "scfoundation"
    ] == ("", "")
    partly = _check(folder, models="geneformer", weights={"geneformer": complete_listing()["geneformer"][1:]}).plan[0]
    assert partly["reason_code"] == "weights_missing" and f"'{complete_listing()['geneformer'][0]}'" in partly["reason"]


def test_files_of_the_users_own_are_left_to_the_model(folder) -> None:
    (folder / "o.yml").write_text("uce: {checkpoint: finetuned.torch}\n")
    for files, code in ((["finetuned.torch"], ""), (None, "weights_missing")):
        assert (
            _status(_check(folder, models="uce", weights={"uce": files}, model_options=str(folder / "o.yml")))["uce"][1]
            == code
        )


@pytest.mark.parametrize(
    ("organism", "out"),
    [
        ("axolotl", set(TABLE)),
        ("Mus musculus", {"scgpt", "geneformer", "scfoundation", "cellplm", "sccello"}),
        ("mouse lemur", set(TABLE) - {"uce"}),
        ("macaca mulatta", set(TABLE) - {"uce"}),
        ("", set()),
    ],
)
def test_organisms(folder, organism, out) -> None:
    found = _check(
        folder, models="all", row={"organism": organism, "gene_id_column": "ensembl"}, accept_license="scfoundation"
    )
    refused = {m for m, (_, code) in _status(found).items() if code}
    if not organism:  # the Ensembl ids say human
        assert refused == set()
        return
    assert refused == out
    assert {code for _, code in _status(found).values() if code} <= {"organism_not_supported"}
    assert all(organism in r["reason"] for r in found.plan if r["reason"])


def test_the_organism_is_read_off_the_ids_where_nobody_says_it(folder) -> None:
    data = make_adata()
    data.var["ensembl"] = [f"ENSMUSG{i:011d}" for i in range(data.n_vars)]
    write(data, folder / "d.h5ad")
    found = _check(folder, models="nicheformer,cellplm")
    assert _status(found) == {"cellplm": ("not_applicable", "organism_not_supported"), "nicheformer": ("", "")}
    assert "by the form of its Ensembl ids" in next(r["reason"] for r in found.plan if r["method"] == "cellplm")
    assert found.model_settings["d"]["nicheformer"]["default_organism"] == "mouse"


def test_models_of_ensembl_ids_on_symbols(folder) -> None:
    write(make_adata(), folder / "d.h5ad")
    found = _check(folder, models="all", row={"gene_id_column": ""}, accept_license="scfoundation")
    refused = {m for m, (_, code) in _status(found).items() if code == "no_gene_ids"}
    assert refused == {"geneformer", "cellplm", "nicheformer"}
    assert "gene_id_column" in next(r["reason"] for r in found.plan if r["method"] == "geneformer")
    settings = found.model_settings["d"]
    assert (settings["genecompass"]["gene_column"], settings["sccello"]["gene_column"]) == (
        "gene_symbol",
        "gene_symbol",
    )


def test_models_of_symbols_on_ensembl_ids(folder) -> None:
    data = make_adata()
    data.var_names = [f"ENSG{i:011d}" for i in range(data.n_vars)]
    write(data, folder / "d.h5ad")
    found = _check(folder, models="scgpt,geneformer", row={"gene_id_column": ""})
    assert _status(found) == {"scgpt": ("not_applicable", "no_gene_symbols"), "geneformer": ("", "")}
    assert "gene_symbol_column" in found.plan[0]["reason"]


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_fit_the_prepared_data_set(folder) -> None:
    settings = _check(folder, models="all", row={"organism": "Mouse"}).model_settings["d"]
    assert set(settings) == set(TABLE)
    for name, values in settings.items():
        assert values["input_layer"] == "counts"
        assert values["gene_column"] == ("gene_symbol" if TABLE[name].gene_ids == "symbol" else "gene_id")
        make_settings(model_class(name).Settings, values, model=name)  # all of them are settings of the model
    assert (
        settings["genecompass"]["species"],
        settings["uce"]["species"],
        settings["nicheformer"]["default_organism"],
    ) == ("mouse",) * 3
    assert settings["nicheformer"]["organism_column"] == ""


def test_own_settings_win(folder) -> None:
    (folder / "o.yml").write_text(
        "uce: {species: chicken, gene_column: mine}\nscgpt:\n  max_length: none\n  normalize: no\n"
    )
    found = _check(folder, models="uce,scgpt", row={"organism": "chicken"}, model_options=str(folder / "o.yml"))
    assert found.errors == []
    assert _status(found) == {
        "uce": ("", ""),
        "scgpt": ("not_applicable", "organism_not_supported"),
    }  # whoever names a species means it
    assert found.model_settings["d"]["uce"] == {"input_layer": "counts", "species": "chicken", "gene_column": "mine"}
    assert found.model_settings["d"]["scgpt"] == {
        "input_layer": "counts",
        "gene_column": "gene_symbol",
        "max_length": None,
        "normalize": False,
    }


@pytest.mark.parametrize(
    ("column", "prepared", "shards"),
    [
        ("batch", "batch", "batch"),
        ("plate", "batch", "batch"),
        ("person", "person", "donor"),
        ("time", "time", ""),
        ("", None, ""),
    ],
)
def test_groups_of_cellplm(column, prepared, shards) -> None:
    from scfm.planning.models import _shards_follow

    row = {"batch_key": "plate", "donor_key": "person"}
    own = {"group_column": column} if column else {}
    settings, _ = fill_settings(TABLE["cellplm"], own, row, {"ids_from": "x"})
    assert settings.get("group_column") == prepared
    assert _shards_follow(TABLE["cellplm"], settings, row) == shards
    assert _shards_follow(TABLE["scgpt"], settings, row) == ""


# --- errors -----------------------------------------------------------------------------------------------------------


def test_unknown_names(folder) -> None:
    found = _check(folder, models="scgtp,uce", accept_license="scfundation").errors
    assert_says(found, "--models: unknown model 'scgtp'", "Did you mean 'scgpt'?")
    assert_says(found, "--accept_license: unknown model 'scfundation'", "Did you mean 'scfoundation'?")


def test_nothing_to_do_names_the_models(folder) -> None:
    assert_says(_check(folder, models="none").errors, "nothing to do", "--models")
    assert _check(folder, models="uce").errors == []


def test_names_of_models_are_taken(folder) -> None:
    for name in ("scgpt", "uce_random"):
        (folder / f"{name}.csv").write_text("cell_id,dim_0\n")
        assert_says(
            _check(folder, models="none", methods="pca", row={"embeddings": f"{name}.csv"}).errors,
            f"'{name}' is the name of a method",
        )


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("scgtp: {max_length: 5}", [("unknown model 'scgtp'", "Did you mean 'scgpt'?")]),
        (
            "scgpt: {max_lenght: 5, normalize: perhaps, ties: lower}\nuce: {sample_size: many}",
            [
                ("scgpt has no setting 'max_lenght'", "Did you mean 'max_length'?"),
                ("normalize=perhaps is not true or false",),
                ("ties=lower is not one of random, upper",),
                ("uce: setting sample_size=many is not a whole number",),
            ],
        ),
        ("scgpt: 5", [("'scgpt' holds '5'", "expected model names")]),
        ("scgpt:\n", [("'scgpt' holds nothing",)]),
        ("- scgpt\n- uce", [("holds a list", "expected model names")]),
        ("scgpt: {max_length: [5, 6]}", [("setting max_length is a list; expected a single value",)]),
        ("uce:\n  species:\n", [("uce: setting species has no value",)]),
        ("scgpt: {max_length: 5}\nscgpt: {max_length: 6}", [("'scgpt' occurs more than once",)]),
        ("scgpt: {max_length: 5, max_length: 6}", [("'max_length' occurs more than once",)]),
        ("scgpt: {max_length: 5", [("not valid YAML",)]),
        ("!!python/object/apply:os.system ['true']", [("not valid YAML",)]),
    ],
)
def test_every_error_of_the_options_is_reported(folder, text, sentences) -> None:
    (folder / "o.yaml").write_text(text)
    errors = _check(folder, models="scgpt,uce", model_options=str(folder / "o.yaml")).errors
    for parts in sentences:
        assert "o.yaml" in assert_says(errors, *parts)
    assert len(errors) == len(sentences)


def test_options_that_are_not_there(folder) -> None:
    for staged in (None, {"d.h5ad": str(folder / "d.h5ad")}, {"d.h5ad": str(folder / "d.h5ad"), "far.yml": ""}):
        assert_says(
            _check(folder, models="uce", model_options="far.yml", staged=staged).errors,
            "--model_options",
            "'far.yml' does not exist",
        )


def test_options_are_read_where_they_were_staged(tmp_path) -> None:
    (tmp_path / "here.yml").write_text("geneformer: {layer: 0, pooling: cell}\n")
    assert read_options("s3://far/away.yml", {"s3://far/away.yml": str(tmp_path / "here.yml")}, TABLE) == (
        {"geneformer": {"layer": 0, "pooling": "cell"}},
        [],
    )
    assert read_options(None, {}, TABLE) == ({}, [])
    (tmp_path / "here.yml").write_text("# nothing set\n")
    assert read_options(str(tmp_path / "here.yml"), None, TABLE) == ({}, [])


# --- executables ------------------------------------------------------------------------------------------------------


def test_the_check_writes_settings_without_loading_pytorch(folder) -> None:
    (folder / "s.csv").write_text("dataset,h5ad,batch_key,label_key,gene_id_column\nd,d.h5ad,batch,cell_type,ensembl\n")
    (folder / "params.json").write_text(
        json.dumps({"input": "s.csv", "outdir": "r", "models": "all", "weights_dir": "w", "neighbors_k": 16})
    )
    (folder / "weights.json").write_text(json.dumps(complete_listing() | {"uce": None}))
    code = (
        f"import sys; sys.modules['torch'] = None; sys.path.insert(0, {str(ROOT / 'bin')!r}); import check_inputs;"
        " sys.exit(check_inputs.main())"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "--params",
            "params.json",
            "--input",
            "s.csv",
            "--weights",
            "weights.json",
            "--outdir",
            "out",
            "--fail",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    settings = json.loads((folder / "out" / "model_settings.json").read_text())
    assert settings["d"]["scgpt"] == {"gene_column": "gene_symbol", "input_layer": "counts"}
    plan = read_plan(folder / "out" / "plan.tsv")
    assert set(plan.loc[plan["model"] == "uce", "reason_code"]) == {"weights_missing"}
    assert set(plan.loc[plan["model"] == "geneformer", "status"]) == {""}


def test_settings_of_the_check_embed_a_prepared_data_set(tmp_path) -> None:
    """The JSON goes into embed_cells.py as it is; --set wins over it."""
    import embed_cells
    from models_cases_scgpt import CASES
    from models_contract import read_input

    adata = read_input("scgpt")
    adata.layers["counts"], adata.X = adata.X.copy(), adata.X * 0.5
    adata.write_h5ad(tmp_path / "p.h5ad")
    settings, problems = fill_settings(
        TABLE["scgpt"], {"max_length": None}, {"organism": "human"}, {"symbols_from": "var index"}
    )
    assert problems == []
    (tmp_path / "o.json").write_text(json.dumps(settings))
    embed_cells.main(
        [
            "--model",
            "scgpt",
            "--weights",
            str(CASES.folder),
            "--input",
            str(tmp_path / "p.h5ad"),
            "--output",
            str(tmp_path / "e.parquet"),
            "--device",
            "cpu",
            "--options",
            str(tmp_path / "o.json"),
            "--set",
            "ties=upper",
            "max_length=64",
        ]
    )
    used = json.loads((tmp_path / "e.json").read_text())["settings"]
    assert (used["input_layer"], used["gene_column"], used["ties"], used["max_length"]) == (
        "counts",
        "gene_symbol",
        "upper",
        64,
    )
    expected = load_model(
        "scgpt", CASES.folder, device="cpu", **(settings | {"ties": "upper", "max_length": 64})
    ).embed(adata)
    np.testing.assert_array_equal(pd.read_parquet(tmp_path / "e.parquet").set_index("cell_id"), expected)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[1]", "expected a JSON object"),
        ("{", "is not valid JSON"),
        (None, "does not exist"),
        ('{"x": 1}', "scgpt has no setting 'x'"),
    ],
)
def test_options_file_of_embed_cells_that_is_wrong(tmp_path, content, sentence) -> None:
    if content is not None:
        (tmp_path / "o.json").write_text(content)
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "bin" / "embed_cells.py"),
            "--model",
            "scgpt",
            "--weights",
            ".",
            "--input",
            "x.h5ad",
            "--output",
            "e.parquet",
            "--options",
            "o.json",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr


def test_every_model_takes_what_the_pipeline_fills_in() -> None:
    assert set(available_models()) <= set(TABLE)
    for name in available_models():
        settings, _ = fill_settings(TABLE[name], {}, {"organism": "human"}, {"symbols_from": "a", "ids_from": "b"})
        make_settings(model_class(name).Settings, settings, model=name)


def test_no_models_is_the_default() -> None:
    assert Models().chosen == () and Models().method_names() == []
