"""``--stages``: donors corrected inside tissues, then tissues: check of the input, known answers, simulated donors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers_data import assert_says, check_one, make_adata, make_counts
from scfm.integration import harmony
from scfm.integration.run import settings_of
from scfm.integration.staged import MIN_CELLS, correct_in_stages, stage_messages
from scfm.registries.instances import title_of
from scfm.registries.methods import load_methods
from scfm.report.sections.stages import stage_sections
from scfm.simulation.counts import draw_counts
from scfm.simulation.design import Design
from scfm.simulation.truth import draw_truth


def centred(values: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """Every batch's mean moved to the mean of all: a correction with a known answer."""
    moved = values - np.stack([values[batches == b].mean(axis=0) for b in batches])
    return moved + values.mean(axis=0)


def nested(n: int = 240, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    """Coordinates with a shift per tissue and per donor inside it; four donors in two tissues of unlike sizes."""
    rng = np.random.default_rng(seed)
    donor = rng.choice(["a", "b", "c", "d"], n, p=[0.4, 0.2, 0.2, 0.2])
    keys = pd.DataFrame({"donor": donor, "tissue": np.where(np.isin(donor, ["a", "b"]), "gut", "lung")})
    shift = {"a": (0, 3), "b": (0, -3), "c": (0, 5), "d": (0, 1), "gut": (4, 0), "lung": (-4, 0)}
    values = rng.normal(size=(n, 2)) + [np.add(shift[d], shift[t]) for d, t in keys.itertuples(index=False)]
    return values, keys


def test_a_stage_corrects_inside_the_levels_of_the_next_key():
    values, keys = nested()
    one, facts = correct_in_stages(values, keys, 1, centred)
    means = pd.DataFrame(one).groupby([keys["tissue"], keys["donor"]]).mean()
    for tissue in ("gut", "lung"):  # donors of a tissue share its mean, which has not moved
        whole = values[keys["tissue"] == tissue].mean(axis=0)
        np.testing.assert_allclose(means.loc[tissue], np.tile(whole, (2, 1)), atol=1e-12)
    two, _ = correct_in_stages(values, keys, 2, centred)
    np.testing.assert_allclose(
        pd.DataFrame(two).groupby(keys["donor"]).mean(), np.tile(values.mean(axis=0), (4, 1)), atol=1e-12
    )
    assert [(f.stage, f.key, f.inside, f.n_levels, f.n_passed) for f in facts] == [(1, "donor", "tissue", 2, 0)]


def test_the_order_of_the_cells_decides_nothing():
    values, keys = nested()
    order = np.random.default_rng(1).permutation(len(keys))
    found, _ = correct_in_stages(values[order], keys.iloc[order], 2, centred)
    np.testing.assert_allclose(found, correct_in_stages(values, keys, 2, centred)[0][order], atol=1e-12)


def test_levels_with_one_donor_and_small_levels_pass_through_and_are_counted():
    values, keys = nested()
    keys = pd.concat([keys, pd.DataFrame({"donor": ["e"] * 40, "tissue": ["skin"] * 40})], ignore_index=True)
    small = pd.DataFrame({"donor": ["f", "g"] * 5, "tissue": ["bone"] * 10})
    keys = pd.concat([keys, small], ignore_index=True)
    values = np.vstack([values, np.ones((50, 2))])
    found, (stage,) = correct_in_stages(values, keys, 1, centred)
    np.testing.assert_array_equal(found[-50:], values[-50:])
    assert (stage.alone, stage.small, stage.n_passed) == (("skin",), ("bone",), 50)
    (told,) = stage_messages([stage], dataset="d", method="harmony", seed=0)
    assert told["code"] == "W-STAGE-01" and told["threshold"] == MIN_CELLS
    for part in ("Stage 1 (donor inside tissue)", "50 cells pass", "a single donor in 'skin'", "cells in 'bone'"):
        assert part in told["text"]
    assert stage_messages(correct_in_stages(*nested(), 2, centred)[1], dataset="d", method="harmony", seed=0) == []


def mixing(values: np.ndarray, obs: pd.DataFrame) -> tuple[float, float, float]:
    """Share of the 30 nearest cells with the same type; of other donors among those of the same tissue; of other
    tissues around cells of the types that all tissues have.
    """
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=30).fit(values).kneighbors(return_distance=False)
    kind, donor, tissue = (obs[c].to_numpy(dtype=str) for c in ("cell_type", "donor", "batch"))
    same = tissue[near] == tissue[:, None]
    shared = [t for t in np.unique(kind) if len(set(tissue[kind == t])) == len(set(tissue))]
    return (
        float((kind[near] == kind[:, None]).mean()),
        float(((donor[near] != donor[:, None]) & same).sum() / same.sum()),
        float((~same)[np.isin(kind, shared)].mean()),
    )


def test_stages_mix_simulated_donors_first_and_tissues_after_them():
    """Nine donors in three tissues that share two of five cell types: the batch of the simulator is the tissue."""
    composition = [[0.4, 0.3, 0.3, 0, 0], [0.4, 0.3, 0, 0.3, 0], [0.4, 0.3, 0, 0, 0.3]]
    design = Design(
        n_cells=1200, n_genes=400, n_types=5, n_batches=3, n_donors=9, nesting="donor_in_batch", donor_effect=0.3,
        batch_effect=0.2, composition=composition,
    )  # fmt: skip
    truth = draw_truth(design, 0)
    counts = np.vstack([block.toarray() for block in draw_counts(truth)])
    logs = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    u, s, _ = np.linalg.svd(logs - logs.mean(axis=0), full_matrices=False)
    obs = truth.obs.reset_index(drop=True)
    inputs = SimpleNamespace(
        pca=(u * s)[:, :20],
        batches=obs["donor"].astype(str).to_numpy(dtype=object),
        cell_ids=obs.index,
        cpus=1,
        dataset="d",
        obs_columns=lambda names: obs[names],
        require_batches=lambda _: None,
    )
    stages = {"harmony_stages": "donor > batch"}
    methods = load_methods()
    found = {
        n: harmony._in_stages(inputs, settings_of(methods["harmony"], stages | {"harmony_stage": n}), 0) for n in (1, 2)
    }
    single = np.asarray(harmony._run(inputs.pca, {"donor": inputs.batches}, harmony.DEFAULTS, 0, 1)[0].Z_corr)
    embeddings = (inputs.pca, found[1].values, found[2].values)  # noqa: PD011
    before, first, second = (mixing(embedding, obs) for embedding in embeddings)
    in_one = mixing(single, obs)
    assert before[1] < 0.1 and before[2] < 0.05  # donors and tissues lie apart
    assert first[1] > 0.6 and first[2] < 0.05  # stage 1 mixes donors inside tissues, and leaves tissues apart
    assert second[1] > 0.6 and second[2] > 0.6  # stage 2 mixes tissues too
    assert second[1] > in_one[1] and second[2] > in_one[2]  # and both more than one stage over all donors
    assert min(first[0], second[0]) > 0.99  # types stay apart
    assert [s["key"] for s in found[2].details["stages"]] == ["donor", "batch"] and found[2].details["n_runs"] == 4


def test_settings_of_a_stage_are_those_of_harmony_and_a_plain_run_has_none():
    harmony_row = load_methods()["harmony"]
    staged = settings_of(harmony_row, {"harmony_stages": "a > b", "harmony_stage": 1, "harmony_theta": 4})
    assert staged == harmony.DEFAULTS | {"theta": 4.0, "stages": "a > b", "stage": 1}
    assert settings_of(harmony_row, {}) == harmony.DEFAULTS


@pytest.mark.parametrize(
    ("stages", "methods", "parts"),
    [
        ("donor", "harmony", ["--stages is 'donor'", "two or more columns"]),
        ("donor > ", "harmony", ["--stages is 'donor > '", "two or more columns"]),
        ("donor > donor", "harmony", ["names 'donor' more than once"]),
        ("donor > batch", "pca", ["name harmony in --methods"]),
        ("donor > tisue", "harmony", ["'tisue'"]),
    ],
)
def test_wrong_stages_are_sentences_before_the_run(tmp_path, stages, methods, parts):
    outcome = check_one(tmp_path, make_adata(make_counts(200)), stages=stages, methods=methods, controls="none")
    assert_says(outcome.errors, *parts)


def test_the_plan_has_an_embedding_per_stage_beside_harmony(tmp_path):
    outcome = check_one(
        tmp_path, make_adata(make_counts(200)), stages="donor > batch", methods="harmony", controls="none", seeds="0"
    )
    assert outcome.errors == []
    rows = [r for r in outcome.plan if r["instance"]]
    assert [r["embedding"] for r in rows] == ["harmony-stage1.raw.0", "harmony-stage2.raw.0"]
    assert {r["instance"] for r in rows} == {"stage"} and {r["base_method"] for r in rows} == {"harmony"}
    assert title_of("Harmony", "harmony", "stage", {"harmony_stages": "donor > batch", "harmony_stage": 2}) == (
        "Harmony, stage 2 (batch)"
    )


def test_the_section_has_every_stage_with_every_key_and_compares_the_last_with_one_stage():
    """Donors are mixed better by stages (+0.20), tissues alike (+0.01 with a tolerance of 0.02)."""
    methods = ("pca", "harmony", "harmony-stage1", "harmony-stage2")
    stage = ["", "", "stage", "stage"]
    plan = pd.DataFrame({"dataset": "d", "method": methods, "base_method": "harmony", "instance": stage})
    scores = {"donor": [(0.7, 0.2), (0.7, 0.5), (0.7, 0.6), (0.7, 0.7)], "tissue": [(0.6, 0.1)] * 3 + [(0.6, 0.11)]}
    about = {"dataset": "d", "correction": "raw", "label_key": "type", "scaling": "raw", "bio_weight": 0.6}
    totals = {
        key: pd.DataFrame(
            [
                about | {"method": m, "batch_key": key, "bio": bio, "batch": batch, "total": 0.5}
                for m, (bio, batch) in zip(methods, values, strict=True)
            ]
        )
        for key, values in scores.items()
    }
    tables = {"plan": plan, "totals": totals["donor"], "other_totals": totals["tissue"]}
    names = SimpleNamespace(method=lambda name: f"<{name}>")
    told = [{"text": "Stage 1 (donor inside tissue): 40 cells pass through unchanged: a single donor in 'skin'."}]
    data = SimpleNamespace(
        of=lambda table, _: tables[table], names=names, params={"tie_tolerance": 0.02}, told=lambda *_: told
    )
    (section,) = stage_sections(data, "d")
    text = str(section.data)
    for part in ("&lt;harmony-stage1&gt;", "Batch, donor", "Bio, tissue", "0.110", "40 cells pass through"):
        assert part in text
    assert "batch is higher (+0.20)" in text and "batch can&#39;t be told apart (+0.01)" in text
    assert stage_sections(SimpleNamespace(of=lambda table, _: plan.iloc[:2]), "d") == []
    seeds = [totals["donor"].assign(batch=totals["donor"]["batch"] + shift) for shift in (-0.3, 0, 0.3)]
    tables["totals"] = pd.concat(seeds, ignore_index=True)
    (section,) = stage_sections(data, "d")
    assert "batch can&#39;t be told apart (+0.20, spread over seeds 0.300)" in str(section.data)
