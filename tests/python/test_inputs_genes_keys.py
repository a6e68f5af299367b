"""Gene ids, composite keys, and the small texts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scfm.errors import ScfmError
from scfm.inputs.ensembl import canonical, is_ensembl, organism_of, prefix_of, without_version
from scfm.inputs.gene_lists import match_genes, read_gene_list
from scfm.inputs.genes import classify_ids, find_names, normal_organism
from scfm.inputs.keys import as_text, build_key, level_counts, split_key
from scfm.text import did_you_mean, listing, plural, split_list


@pytest.mark.parametrize(
    ("kind", "ids"),
    [
        (
            "ensembl",
            [
                "ENSG00000010610",
                "ENSG00000010610.12",
                "ENSMUSG00000023274",
                "ENSDARG00000002768",
                "ENSG00000182378.15_PAR_Y",
                "FBgn0000003",
                "WBGene00000001",
            ],
        ),
        (
            "symbol",
            [
                "CD4",
                "Cd4",
                "HLA-DRA",
                "MT-CO1",
                "AL645608.1",
                "7SK",
                "C1orf112",
                "RP11-34P13.7",
                "5S_rRNA",
                "nkx2.5",
                "PEAK1",
            ],
        ),
        (
            "unknown",
            [
                "",
                "nan",
                "1017",
                "gene_1",
                "Gene12",
                "feature-3",
                "peak_12",
                "chr1:100-200",
                "chr1_100_200",
                "ILMN_1234567",
                "1007_s_at",
                "x" * 60,
                "a b",
            ],
        ),
    ],
)
def test_kinds_of_ids(kind, ids):
    assert list(classify_ids(ids)) == [kind] * len(ids)


def test_organism_by_prefix():
    assert organism_of(["ENSG00000010610"] * 2 + ["ENSMUSG00000023274"]) == "human"
    assert organism_of(["ENSMUSG00000023274.1"]) == "mouse"
    assert organism_of(["CD4"]) == ""
    assert [normal_organism(o) for o in ("Homo_sapiens", "NCBITaxon:10090", "Axolotl", None)] == [
        "human",
        "mouse",
        "axolotl",
        "",
    ]


@pytest.mark.parametrize(
    ("text", "prefix", "bare", "same_in_vocabularies"),
    [
        ("ENSG00000010610", "", "ENSG00000010610", "ENSG00000010610"),
        ("ENSG00000010610.12", "", "ENSG00000010610", "ENSG00000010610"),
        ("ensg00000010610.12", "", "ensg00000010610", "ENSG00000010610"),
        ("ENSG00000182378.14_PAR_Y", "", "ENSG00000182378_PAR_Y", "ENSG00000182378_PAR_Y"),
        ("ENSG00000182378_PAR_Y", "", "ENSG00000182378_PAR_Y", "ENSG00000182378_PAR_Y"),
        ("ENSGR0000182378.14", "", "ENSGR0000182378", "ENSGR0000182378"),
        ("ENSMUSG00000023274.1", "MUS", "ENSMUSG00000023274", "ENSMUSG00000023274"),
        ("ENSCSAVG00000000002", "CSAV", "ENSCSAVG00000000002", "ENSCSAVG00000000002"),
        ("FBgn0000003", None, "FBgn0000003", "FBgn0000003"),
        ("WBGene00000001", None, "WBGene00000001", "WBGene00000001"),
    ],
)
def test_what_an_ensembl_id_is(text, prefix, bare, same_in_vocabularies):
    assert is_ensembl(text)
    assert (prefix_of(text), without_version(text), canonical(text)) == (prefix, bare, same_in_vocabularies)


@pytest.mark.parametrize(
    "text",
    [
        "ENST00000456328",
        "ENSP00000334393.3",
        "ENSG0000001061",
        "ENSG00000010610.",
        "ENSG00000010610 ",
        "ENSG",
        "AL645608.1",
        "xENSG00000010610",
        "ENSG00000010610_PAR_X",
        "ENSG00000010610-AS1",
        "CD4",
        "",
    ],
)
def test_what_is_none_stays_as_it_is(text):
    assert not is_ensembl(text)
    assert (prefix_of(text), without_version(text), canonical(text)) == (None, text, text)


def test_ids_in_lower_case_are_found_as_ids():
    names = find_names(pd.DataFrame(index=[f"ensg{i:011d}.2" for i in range(4)]))
    assert (names.ids_from, names.symbols, names.organism) == ("var index", None, "human")
    assert names.ids[1] == "ENSG00000000001"


def test_both_names_are_found():
    ensembl = [f"ENSG{i:011d}.2" for i in range(4)]
    cellxgene = pd.DataFrame({"feature_name": ["CD4", "CD4", "ENSG00000000002", np.nan]}, index=ensembl)
    names = find_names(cellxgene)
    assert (names.ids_from, names.symbols_from, names.n_mapped) == ("var index", "feature_name", 4)
    assert list(names.symbols) == ["CD4", "CD4", "", ""]  # duplicates stay; an id is no symbol
    assert list(names.ids) == [e.removesuffix(".2") for e in ensembl]
    by_symbol = pd.DataFrame(
        {"gene_ids": pd.Categorical([*ensembl[:3], ""]), "n": range(4)}, index=["CD4", "CD8A", "MS4A1", "LYZ"]
    )
    names = find_names(by_symbol)
    assert (names.ids_from, names.symbols_from) == ("gene_ids", "var index")
    assert names.ids[3] == ""
    nothing = find_names(pd.DataFrame({"gene_name": ["1", "2"]}, index=["0", "1"]))
    assert (nothing.symbols, nothing.ids, nothing.n_mapped) == (None, None, 0)


def test_named_column_wins_over_the_index():
    var = pd.DataFrame({"mine": ["LYZ", "1"]}, index=["CD4", "CD8A"])
    names = find_names(var, symbol_column="mine")
    assert (list(names.symbols), names.symbols_from, names.n_mapped) == (["LYZ", "1"], "mine", 1)
    with pytest.raises(ScfmError, match="no column 'other'"):
        find_names(var, id_column="other")


def test_keys_as_text():
    assert as_text(pd.Series([1.0, np.nan, 2.0])).tolist() == ["1", None, "2"]
    assert as_text(pd.Series([1.5, np.nan])).tolist() == ["1.5", None]
    assert as_text(pd.Series([True, False])).tolist() == ["True", "False"]
    assert as_text(pd.Series(["a ", None, "nan", "", "NA", "nano"])).tolist() == ["a", None, None, None, None, "nano"]
    assert as_text(pd.Series(pd.Categorical(["x", None]))).tolist() == ["x", None]
    assert as_text(pd.Series(pd.Categorical([None, None]))).tolist() == [None, None]


def test_categories_are_the_text_that_their_values_are():
    for values in ([1.0, np.nan, 2.0], [1.5, 2.0], [3, 4], [True, False], ["a ", None, "nan", "b"]):
        plain, index = pd.Series(values), [f"c{i}" for i in range(len(values))]
        column = pd.Series(pd.Categorical(values), index=index, name="key")
        found = as_text(column)
        assert found.tolist() == as_text(plain).tolist()
        assert (found.index.tolist(), found.name, found.dtype) == (index, "key", object)


def test_composite_key_pastes_and_counts():
    donor, time = pd.Series(["p1", "p1", "p2", None]), pd.Series([0, 1, 0, 1])
    key = build_key([donor, time])
    assert key.tolist() == ["p1+0", "p1+1", "p2+0", None]
    assert level_counts(key) == {"p1+0": 1, "p1+1": 1, "p2+0": 1}
    assert split_key("a + b", ["a", "b"]) == ["a", "b"]
    assert split_key("a+b", ["a+b"]) == ["a+b"]
    with pytest.raises(ScfmError, match="ambiguous"):
        build_key([pd.Series(["a+b", "a"]), pd.Series(["c", "b+c"])])


def test_gene_lists(tmp_path):
    path = tmp_path / "genes.txt"
    path.write_text("CD4 # helper\n\n# comment\nENSG00000000001.7\nLYZ\nCD4\n")
    wanted = read_gene_list(path)
    assert wanted == ["CD4", "ENSG00000000001.7", "LYZ"]
    index, ids = np.array(["CD4", "CD8A", "MS4A1"], dtype=object), np.array(["", "ENSG00000000001", ""], dtype=object)
    mask, absent = match_genes(wanted, index, None, ids)
    assert (mask.tolist(), absent) == ([True, True, False], ["LYZ"])
    assert match_genes([], index)[0].tolist() == [False] * 3
    with pytest.raises(ScfmError, match="can't be read"):
        read_gene_list(tmp_path / "absent.txt")


def test_texts():
    assert did_you_mean("Harmony", ["harmony"]) == " Did you mean 'harmony'?"
    assert plural(1204, "cell") == "1,204 cells" and plural(1, "batch has", "batches have") == "1 batch has"
    assert listing(range(7), limit=2) == "'0', '1' and 5 more"
    assert split_list("a; b;;", ";") == ["a", "b"]
