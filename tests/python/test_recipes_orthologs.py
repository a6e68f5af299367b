"""The study's rule of orthologs on tables made by hand, and tables that can't be trusted."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import anndata as ad
import numpy as np
import pytest

from helpers_recipes import apply, cells, dense, write
from scfm.errors import ScfmError
from scfm.recipes.genes import read_pairs
from scfm.recipes.recipe import Table

TEXT = """
    sources:
      human: {file: h.h5ad, genes: {table: pairs, from: human_id, to: human_id}}
      mouse: {file: m.h5ad, genes: {table: pairs, from: mouse_id, to: human_id}}
    tables:
      pairs:
        file: pairs.csv
        columns: {human_id: Human, mouse_id: Mouse}
        required: [human_id, mouse_id]
        first_per: human_id
        end_mark: "[success]"
    cell_ids: {prefix: cell_}
    """
TEXT = dedent(TEXT)
PAIRS = """Mouse,Other,Human
m1,,h1
,x,h2
m2,,
m3,,h3
m4,,h3
m5,,h4
m5,,h5
m6,,h7
m8,,h6
"""


def make(folder: Path, pairs: str = PAIRS + "[success]\n") -> tuple[ad.AnnData, ad.AnnData]:
    """Write two species and their table."""
    human = cells(4, n_genes=7, prefix="x", genes=[f"h{i}" for i in (7, 6, 5, 4, 3, 2, 1)], seed=1)
    mouse = cells(3, n_genes=7, prefix="x", genes=[f"m{i}" for i in (1, 2, 3, 4, 5, 6, 7)], seed=2)
    write(human, folder / "h.h5ad")
    write(mouse, folder / "m.h5ad")
    (folder / "pairs.csv").write_text(pairs)
    return human, mouse


def test_the_rule_step_by_step(tmp_path: Path) -> None:
    human, mouse = make(tmp_path)
    report, data = apply(tmp_path, TEXT)
    # h1-m1 and h7-m6 are plain; h3 takes m3, its first; m5 has two human partners and takes the last, so h4 is left
    # without a mouse gene;
    # h2 and m2 lack a partner; m8 is not in the file, so h6 is not in common
    partners = {"h1": "m1", "h3": "m3", "h5": "m5", "h7": "m6"}
    assert data.var_names.tolist() == list(partners)
    assert data.var["feature_name"].tolist() == ["Sh1", "Sh3", "Sh5", "Sh7"]
    np.testing.assert_array_equal(dense(data)[:4], human.raw.to_adata()[:, list(partners)].X.toarray())
    np.testing.assert_array_equal(dense(data)[4:], mouse.raw.to_adata()[:, list(partners.values())].X.toarray())
    assert data.obs["source_cell_id"].tolist() == ["x0", "x1", "x2", "x3", "x0", "x1", "x2"]
    assert report["tables"] == [{"name": "pairs", "file": "pairs.csv", "rows": 9, "pairs": 6, "record": None}]
    assert [s["genes_kept"] for s in report["sources"]] == [4, 4]


def test_the_order_of_the_table_decides_and_not_the_order_of_the_genes(tmp_path: Path) -> None:
    make(tmp_path, "Mouse,Other,Human\nm5,,h5\nm5,,h4\nm4,,h3\nm3,,h3\n[success]\n")
    _, data = apply(tmp_path, TEXT)
    assert data.var_names.tolist() == ["h3", "h4"]
    np.testing.assert_array_equal(
        dense(data)[4:], ad.read_h5ad(tmp_path / "m.h5ad").raw.to_adata()[:, ["m4", "m5"]].X.toarray()
    )


def test_without_first_per_twins_get_numbers(tmp_path: Path) -> None:
    _, mouse = make(tmp_path, "Mouse,Other,Human\nm4,,h3\nm3,,h3\nm1,,h1\n[success]\n")
    report, data = apply(tmp_path, TEXT.replace("first_per: human_id", "") + "genes: union\n")
    assert data.var_names.tolist() == ["h1", "h3", "h3-1"]
    np.testing.assert_array_equal(dense(data)[4:], mouse.raw.to_adata()[:, ["m1", "m3", "m4"]].X.toarray())
    assert [w["code"] for w in report["warnings"]] == ["W-REC-03"]
    assert "source 'mouse'): 1 gene had the id of another gene" in report["warnings"][0]["text"]


def test_gene_ids_that_a_file_repeats_get_numbers(tmp_path: Path) -> None:
    data = cells(3, n_genes=4, genes=["a", "b", "a", "a"])
    write(data, tmp_path / "a.h5ad")
    report, result = apply(tmp_path, "sources: {one: {file: a.h5ad}}")
    assert result.var_names.tolist() == ["a", "b", "a-1", "a-2"]
    np.testing.assert_array_equal(dense(result), data.raw.X.toarray())
    assert report["warnings"][0]["values"] == {"n_genes": 2}


@pytest.mark.parametrize(
    ("pairs", "parts"),
    [
        (
            PAIRS,
            [
                "pairs.csv (table 'pairs'): truncated",
                "the last line is not '[success]' but 'm8,,h6'",
                "write that line at its end",
            ],
        ),
        ("", ["truncated"]),
        ("Mouse,Humann\nm1,h1\n[success]\n", ["there is no column 'Human'", "Did you mean 'Humann'?"]),
        ("Mouse,Human\nm1,\n[success]\n", ["no row has a value in all of 'human_id', 'mouse_id'"]),
        ("Mouse,Human,Human\nm1,h1,h2\n[success]\n", ["the column 'Human' occurs more than once"]),
        ("Mouse,Human\nq1,h1\n[success]\n", ["m.h5ad (source 'mouse'): none of the 7 genes", "column 'mouse_id'"]),
        ("Mouse,Human\nm1,h3\nm2,q1\n[success]\nmore\n", ["truncated"]),
        (
            "Mouse,Human\nm1,h1\n\nm2,h2,x\n[success]\n",
            ["row 4 has 3 values, the header has 2 columns", "separated by ','"],
        ),
        ("Mouse;Human\nm1;h1\n[success]\n", ["there is no column 'Human', 'Mouse'"]),
    ],
)
def test_tables_that_cannot_be_trusted_are_refused(tmp_path: Path, pairs: str, parts: list[str]) -> None:
    make(tmp_path, pairs)
    with pytest.raises(ScfmError) as error:
        apply(tmp_path, TEXT)
    assert all(p in str(error.value) for p in parts), str(error.value)


def test_species_without_a_gene_in_common_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "Mouse,Human\nm1,q1\nm9,h1\n[success]\n")
    with pytest.raises(ScfmError, match=r"The sources have no gene in common \(human: 'h1'; mouse: 'q1'\)"):
        apply(tmp_path, TEXT)


def test_a_table_is_read_as_text_with_blanks_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffA;B\r\n 007 ;NA\r\n1; \r\n".encode())
    pairs, n_rows = read_pairs(path, Table("t", {"a": "A", "b": "B"}, separator=";"))
    assert pairs.to_dict("list") == {"a": ["007", "1"], "b": ["NA", None]}
    assert n_rows == 2
    with pytest.raises(ScfmError, match="does not exist"):
        read_pairs(tmp_path / "absent.csv", Table("t", {"a": "A"}))
