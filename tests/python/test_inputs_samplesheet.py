"""The samplesheet is read alike by the pipeline (Groovy) and by the check (Python)."""

from __future__ import annotations

import json
import subprocess

import pytest

from helpers_pipeline import PROJECT, environment
from scfm.inputs.samplesheet import embedding_parts, read_samplesheet, write_samplesheet
from scfm.inputs.side_files import SIDE_FILES

HEADER = "dataset,h5ad,batch_key,label_key,embeddings\n"
SHEETS = {
    "plain": HEADER + "a,a.h5ad,batch,label,\n",
    "mark": "\ufeff" + HEADER + "a,a.h5ad,batch,label,x=e/x.csv;obsm:X_q\n",
    "crlf": (HEADER + "a,a.h5ad,batch,label,x.npz\n\nb,b.h5ad,batch,label,\n").replace("\n", "\r\n"),
    "blanks": " dataset , h5ad ,embeddings\n a , a.h5ad , x = e/x.csv ; folder \n ,,\n\n",
    "quoted": HEADER + '"a","dir, one/a.h5ad","batch ""x""","lab,el",\n',
    "unicode": HEADER + "a,Zell\u00fcbersicht.h5ad,batch,label,\n",
    "no_break": HEADER.replace("h5ad,", "h5ad\u00a0,")
    + '\u00a0a\u00a0,a.h5ad\u2009,"batch\u00a0",label\u3000,x=e.csv\u00a0\n',
    "no_end": HEADER + "a,a.h5ad,batch,label,x",
    "equals": HEADER + "a,a.h5ad,batch,label,x=e/k=v.csv; ;y=obsm:X_y\n",
    "side_files": "dataset,h5ad,markers,gmt,network\na,a.h5ad,m.tsv,s.gmt,n.csv\n",
    "no_file": "dataset,h5ad,recipe\na,,r.yml\nb,b.h5ad,\n",
}
SCRIPT = """
include {{ readSamplesheet ; samplesheetPaths }} from '{project}/subworkflows/local/utils_scfmbench'
workflow {{
    file("${{params.folder}}/read.json").text = groovy.json.JsonOutput.toJson(
        files("${{params.folder}}/*.csv").collectEntries {{ sheet ->
            [sheet.simpleName, [readSamplesheet(sheet), samplesheetPaths(sheet)]]
        }}
    )
}}
"""


@pytest.fixture(scope="module")
def by_groovy(tmp_path_factory) -> dict[str, list]:
    """Rows and paths of every sheet as the pipeline reads them."""
    folder = tmp_path_factory.mktemp("sheets")
    for name, text in SHEETS.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
    (folder / "read.nf").write_text(SCRIPT.format(project=PROJECT))
    command = ["nextflow", "run", str(folder / "read.nf"), "--folder", str(folder)]
    done = subprocess.run(
        command, check=False, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "read.json").read_text())


@pytest.mark.parametrize("name", SHEETS)
def test_both_parsers_agree(name: str, by_groovy, tmp_path) -> None:
    (tmp_path / "sheet.csv").write_text(SHEETS[name], encoding="utf-8", newline="")
    rows = read_samplesheet(tmp_path / "sheet.csv")
    places = [place for row in rows for _, place in embedding_parts(row) if not place.startswith("obsm:")]
    files = [row[column] for row in rows for column in ("h5ad", *SIDE_FILES) if column in row]
    assert by_groovy[name] == [rows, list(dict.fromkeys(files + places))]


def test_what_is_written_is_read_again(tmp_path) -> None:
    rows = [{"dataset": "a", "h5ad": 'one, "two".h5ad'}, {"dataset": "b", "recipe": "r.yml"}]
    write_samplesheet(tmp_path / "sheet.csv", rows)
    assert read_samplesheet(tmp_path / "sheet.csv") == rows


def test_parts_of_the_column_embeddings() -> None:
    row = {"embeddings": "x = e/x.csv; folder ;obsm:X_q;y=k=v.csv"}
    assert embedding_parts(row) == [("x", "e/x.csv"), ("", "folder"), ("", "obsm:X_q"), ("y", "k=v.csv")]
