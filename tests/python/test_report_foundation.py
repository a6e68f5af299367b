"""The section on foundation models: twins, corrections, and facts of genes and weights."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pandas as pd
import pytest

from helpers_report import ASSETS, report_data
from scfm.registries.models import load_model_table
from scfm.report.sections.foundation import (
    FAMILY,
    Pair,
    foundation_sections,
    pretraining_sentence,
)
from scfm.report.view.rows import RANKED, EmbeddingRow, Spread, embedding_rows


def as_models(table: pd.DataFrame) -> pd.DataFrame:
    """Make models of two methods of a table: scGPT of Harmony, its random twin of ComBat, UCE of Scanorama."""
    names = {"harmony": "scgpt", "combat": "scgpt_random", "scanorama": "uce"}
    found = table[~((table["method"] == "combat") & (table["correction"] != "raw"))].copy()
    found["method"] = found["method"].replace(names)
    changed = found["method"].isin(names.values())
    found.loc[changed, "family"] = FAMILY
    if "is_control" in found:
        found.loc[found["method"] == "scgpt_random", "is_control"] = True
    parts = zip(found["method"], found["correction"], found["seed"], strict=True)
    found["embedding"] = [f"{m}.{c}.{s}" for m, c, s in parts]
    return found


def make_data(root):
    """Return a simulated run with two models, one of them with a twin, and their sidecars."""
    data = report_data(root, datasets=("pbmc",))
    names = ("scores", "totals", "probing", "status", "resources")
    tables = {n: as_models(data.tables[n]) for n in names if "method" in data.tables[n]}
    facts = {
        "dataset": "pbmc",
        "n_dims": 512,
        "cells_per_second": 1234.5,
        "device": "cuda",
        "gene_overlap": 0.873,
        "genes_detected": 2000,
        "genes_detected_matched": 1746,
    }
    sidecars = [
        {**facts, "embedding": "scgpt.raw.0", "weights_random": False, "weights_sha256": {"m.pt": "0123456789ab" * 5}},
        {**facts, "embedding": "uce.raw.0", "weights_random": True, "weights_sha256": {"u.pt": "f" * 64}},
    ]
    plan = as_models(data.plan)
    titles = {"scgpt": "scGPT", "scgpt_random": "scGPT (random weights)", "uce": "UCE"}
    names = replace(data.names, methods={**data.names.methods, **titles})
    return replace(data.with_tables(**tables), plan=plan, embeddings=sidecars, names=names)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The report data of a simulated run of models."""
    return make_data(tmp_path_factory.mktemp("foundation"))


@pytest.fixture(scope="module")
def sections(data):
    """The sections by key."""
    return {s.key: s for s in foundation_sections(data, "pbmc")}


def text_of(section):
    """Return a section without its tags, blanks joined."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", section.data))


def row(bio, batch=0.5, *, n=1, note="", title="scGPT"):
    """Return a scored row."""
    spreads = {p: Spread(v, v, v, n) for p, v in (("bio", bio), ("batch", batch), ("total", 0.6 * bio + 0.4 * batch))}
    return EmbeddingRow("scgpt", "raw", title, FAMILY, RANKED, note=note, **spreads)


@pytest.mark.parametrize(
    ("own", "twin", "said"),
    [
        ((0.70, 0.50), (0.50, 0.60), "pretraining adds 0.20 in bio and costs 0.10 in batch"),
        ((0.70, 0.50), (0.69, 0.51), "makes no difference (+0.01) in bio and makes no difference (-0.01) in batch"),
        ((0.50, math.nan), (0.60, 0.2), "costs 0.10 in bio and can't be judged in batch"),
    ],
)
def test_the_sentence_says_what_pretraining_adds_within_the_tolerance(own, twin, said):
    assert said in pretraining_sentence(Pair(row(*own), row(*twin)), None, 0.02)


def test_the_sentence_compares_with_pca_and_says_what_is_missing():
    pca = row(0.65, title="PCA")
    assert pretraining_sentence(Pair(row(0.5), None), pca, 0.02) == (
        "scGPT: it was not compared with a random twin (--random_init); against PCA it is 0.15 lower in bio."
    )
    assert "against PCA it can't be told apart (+0.02) in bio" in pretraining_sentence(
        Pair(row(0.67), None), pca, 0.021
    )
    gone = replace(row(0.5, note="not run: weights_missing"), bio=Spread(math.nan, math.nan, math.nan, 0))
    assert pretraining_sentence(Pair(gone, None), pca, 0.02) == "scGPT: no scores (not run: weights_missing)."


def test_trained_and_random_stand_side_by_side_with_the_change(data, sections):
    rows = {r.key: r for r in embedding_rows(data, "pbmc")}
    own, twin = rows["scgpt", "raw"], rows["scgpt_random", "raw"]
    text = text_of(sections["pretraining"])
    assert f"scGPT {own.bio.mean:.2f} {twin.bio.mean:.2f} {own.bio.mean - twin.bio.mean:+.2f}" in text
    assert f"UCE {rows['uce', 'raw'].bio.mean:.2f} – –" in text
    assert "For comparison: PCA" in text
    assert "UCE: it was not compared with a random twin" in text


def test_corrections_are_compared_with_their_own_raw_embedding(data, sections):
    rows = {r.key: r for r in embedding_rows(data, "pbmc")}
    change = rows["scgpt", "center_l2"].batch.mean - rows["scgpt", "raw"].batch.mean
    text = text_of(sections["raw_corrected"])
    assert f"{rows['scgpt', 'center_l2'].batch.mean:.2f} {change:+.2f}" in text
    assert "random weights" not in text
    raw_row = text[text.index(" scGPT ") : text.index("scGPT + center_l2")]
    assert raw_row.count("–") == 3  # a raw embedding has no change against itself


def test_facts_have_gene_overlap_weights_and_licence(sections):
    text = text_of(sections["model_facts"])
    assert "scGPT 87% (1,746 of 2,000) 512 01234567 1,234 (cuda) 33 million human cells" in text
    assert "UCE 87% (1,746 of 2,000) 512 random: not a result" in text
    assert "Code MIT; no separate licence" in text
    said = sections["model_facts"].description
    assert "Cells of a public data set may be among those that a model was trained on" in said


def test_a_model_trained_on_labels_says_so():
    assert load_model_table(ASSETS / "models.tsv")["sccello"].trained_on.endswith("with their cell types")


def test_a_model_without_its_weights_says_nothing_of_pretraining(data):
    changed = replace(data, names=replace(data.names, random_weights=frozenset({"scgpt"})))
    text = text_of(foundation_sections(changed, "pbmc")[0])
    assert "scGPT [random weights]: nothing can be said of pretraining" in text
    assert "pretraining adds" not in text


def test_a_run_without_models_has_no_such_section(data):
    plan = data.plan[data.plan["family"] != FAMILY]
    assert foundation_sections(replace(data, plan=plan), "pbmc") == []


def test_a_model_that_did_not_run_keeps_its_row(data):
    gone = {n: data.tables[n][data.tables[n]["method"] != "uce"] for n in ("scores", "totals", "probing")}
    plan = data.plan.copy()
    plan.loc[plan["method"] == "uce", ["status", "reason_code"]] = ["not_applicable", "weights_missing"]
    bare = replace(data.with_tables(**gone), plan=plan, embeddings=[])
    found = {s.key: text_of(s) for s in foundation_sections(bare, "pbmc")}
    assert "UCE: no scores (not run: weights_missing)." in found["pretraining"]
    assert "UCE – – – –" in found["model_facts"]
