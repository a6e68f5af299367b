"""``--sweep``: the file, the points in the plan, the rules that read them, and the table and section of a run."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers_data import SCHEMA, assert_says, check_one, defaults, make_adata, make_counts
from helpers_report import ASSETS, SEEDS, report_data
from scfm.planning.sweep import read_sweep
from scfm.registries.instances import Instance, base_of
from scfm.registries.methods import load_methods
from scfm.registries.models import load_model_table
from scfm.registries.schemas import Schemas
from scfm.registries.strengths import load_strengths
from scfm.report.sections.sweep import elbow_sentences, pick_sentences, sweep_marks, sweep_sections
from scfm.report.tables.names import read_methods
from scfm.report.tables.sweep_rules import NO_ELBOW, find_elbow, pick_setting

METHODS = load_methods()


def read(tmp_path, text: str, *, n_seeds: int = 1, **params: object) -> tuple[list[Instance], list[str]]:
    """Read a file of settings with this text."""
    path = tmp_path / "sweep.yml"
    path.write_text(text)
    return read_sweep(defaults(sweep=str(path), **params), None, SCHEMA, METHODS, n_seeds)


def test_the_points_are_the_product_of_the_values(tmp_path):
    points, errors = read(
        tmp_path, "harmony: {harmony_theta: [0, 0.5], harmony_max_iter: [5, 10]}\nscvi: {scvi_n_latent: 10}"
    )
    assert errors == []
    assert [p.name for p in points] == [
        "harmony-theta0-max_iter5",
        "harmony-theta0-max_iter10",
        "harmony-theta0_5-max_iter5",
        "harmony-theta0_5-max_iter10",
        "scvi-n_latent10",
    ]
    assert points[2].settings == {"harmony_theta": 0.5, "harmony_max_iter": 5}
    assert {base_of(p.name) for p in points} == {"harmony", "scvi"}


def test_no_name_of_the_registries_could_be_an_instance():
    """The method of an instance is what lies before the first '-'."""
    assert [n for n in (*METHODS, *load_model_table()) if "-" in n] == []


def test_labels_that_two_settings_would_share_are_numbers(tmp_path):
    points, errors = read(tmp_path, "linear: {linear_keep: ['a b', 'a_b', 'a;b']}")
    assert errors == []
    assert [p.label for p in points] == ["point1", "point2", "point3"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["holds nothing", "expected method names"]),
        ("- harmony", ["holds a list", "expected method names"]),
        ("harmny: {harmony_theta: [1]}", ["unknown method 'harmny'", "Did you mean 'harmony'?"]),
        ("random: {random_x: [1]}", ["unknown method 'random'", "Methods that can be swept: pca, harmony"]),
        ("harmony: 3", ["'harmony' holds '3'"]),
        ("harmony: {harmony_thta: [1]}", ["unknown parameter 'harmony_thta'", "Did you mean 'harmony_theta'?"]),
        ("harmony: {n_hvg: [500]}", ["unknown parameter 'n_hvg'", "Parameters of harmony: harmony_theta"]),
        ("pca: {pca_x: [1]}", ["unknown parameter 'pca_x'", "pca has no parameters"]),
        ("harmony: {harmony_theta: [-1]}", ["--harmony_theta is -1; expected a value at least 0"]),
        ("harmony: {harmony_theta: [high]}", ["--harmony_theta is 'high'; expected a number"]),
        ("harmony: {harmony_theta: []}", ["harmony_theta has no values", "harmony_theta: [2]"]),
        ("harmony: {harmony_theta: [2, 2]}", ["harmony_theta has the values '2' more than once"]),
        ("harmony: {harmony_theta: [[2]]}", ["harmony_theta has a list among its values"]),
        ("harmony: {harmony_theta: [null]}", ["harmony_theta has nothing among its values"]),
        ("scvi: {scvi_likelihood: [normal]}", ["--scvi_likelihood is 'normal'; expected one of"]),
        ("harmony: {harmony_theta: [1]}\nharmony: {harmony_theta: [2]}", ["'harmony' occurs more than once"]),
        ("harmony: {harmony_theta: [1", ["not valid YAML"]),
        ("harmony: &a {harmony_theta: [1]}\nscvi: *a", ["aliases"]),
    ],
)
def test_what_is_wrong_is_a_sentence_with_file_key_and_what_is_allowed(tmp_path, text, parts):
    points, errors = read(tmp_path, text)
    assert points == []
    assert assert_says(errors, *parts).startswith("--sweep (sweep.yml)")


def test_too_many_points_are_refused_with_their_number(tmp_path):
    text = "harmony: {harmony_theta: [0, 1, 2, 4]}\ncombat: {combat_covariates: [a, b]}"
    _, errors = read(tmp_path, text, n_seeds=3, max_sweep_points=13)
    assert_says(errors, "6 settings with 3 seeds are 14 embeddings", "--max_sweep_points allows 13")  # ComBat: one seed
    assert read(tmp_path, text, n_seeds=3, max_sweep_points=14)[1] == []


def test_the_plan_has_the_points_beside_the_methods_and_no_correction_of_them(tmp_path):
    (tmp_path / "s.yml").write_text("harmony: {harmony_theta: [0, 8]}")
    outcome = check_one(
        tmp_path,
        make_adata(make_counts(200)),
        sweep=str(tmp_path / "s.yml"),
        methods="pca,harmony",
        controls="none",
        corrections="l2",
        seeds="0,1",
    )
    assert outcome.errors == []
    rows = [r for r in outcome.plan if r["instance"]]
    assert [r["embedding"] for r in rows] == [f"harmony-theta{t}.raw.{s}" for t in (0, 8) for s in (0, 1)]
    assert {(r["base_method"], r["instance"], r["family"]) for r in rows} == {("harmony", "sweep", "neighbor_graph")}
    assert rows[0]["settings"] == '{"harmony_theta": 0}'
    assert {r["embedding"] for r in outcome.plan} >= {"harmony.raw.0", "harmony.l2.0", "pca.raw.0"}
    assert all(r["task_group"] for r in rows)


def test_an_imported_embedding_cant_have_the_name_of_a_point(tmp_path):
    (tmp_path / "s.yml").write_text("harmony: {harmony_theta: [0, 8]}")
    data = make_adata(make_counts(200))
    data.obsm["X_mine"] = np.zeros((200, 3))
    outcome = check_one(
        tmp_path, data, row={"embeddings": "harmony-theta8=obsm:X_mine"}, sweep=str(tmp_path / "s.yml"), methods="pca"
    )
    assert_says(outcome.errors, "'harmony-theta8' is the name of a method")


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), *[st.integers(0, 4)] * 2), min_size=1, max_size=8),
    st.integers(0, 4),
)
@settings(max_examples=60, deadline=None)
def test_the_pick_by_definition(points, tie):
    bio, batch, sd, bio_sd = ([p[i] / 20 for p in points] for i in range(4))
    found = pick_setting(bio, batch, bio_sd, sd, tie / 20)
    top = max(batch)
    assert found.tolerance in {sd[i] for i, value in enumerate(batch) if value == top} and found.source == "sd"
    near = {i for i, value in enumerate(batch) if value >= top - found.tolerance}
    assert set(found.eligible) == near
    assert found.index in near and bio[found.index] == max(bio[i] for i in near)
    top_bio, noise = bio[found.index], max(tie / 20, bio_sd[found.index])
    assert set(found.alike) == {i for i in near - {found.index} if top_bio - bio[i] <= max(noise, bio_sd[i])}


def test_with_one_seed_the_tolerance_is_the_parameter_and_undefined_points_are_never_picked():
    nan = math.nan
    found = pick_setting([0.9, 0.8, nan, 0.99], [0.70, 0.71, 0.9, nan], [nan] * 4, [nan] * 4, 0.02)
    assert (found.index, found.eligible, found.source, found.tolerance) == (0, (0, 1), "tie_tolerance", 0.02)
    assert pick_setting([nan], [0.5], [nan], [nan], 0.02).index is None


def test_bio_that_varies_between_seeds_by_more_than_the_difference_is_no_difference():
    assert pick_setting([0.80, 0.75], [0.7, 0.7], [0.1, 0.0], [0.0, 0.0], 0.02).alike == (1,)
    assert pick_setting([0.80, 0.75], [0.7, 0.7], [0.0, 0.1], [0.0, 0.0], 0.02).alike == (1,)
    assert pick_setting([0.80, 0.75], [0.7, 0.7], [0.01, 0.01], [0.0, 0.0], 0.02).alike == ()


def brute_elbow(bio, batch):
    """The strength with the largest distance from the chord, by the area of a triangle."""
    (x0, y0), (x1, y1) = (batch[0], bio[0]), (batch[-1], bio[-1])
    base = math.dist((x0, y0), (x1, y1))
    area = [(x1 - x0) * (y - y0) - (x - x0) * (y1 - y0) for x, y in zip(batch, bio, strict=True)]
    return int(np.argmax(area[1:-1])) + 1, max(area[1:-1]) / base


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=7), st.floats(0, 0.1))
@settings(max_examples=100, deadline=None)
def test_the_elbow_is_the_strength_furthest_above_the_chord(points, noise):
    bio, batch = ([p[i] for p in points] for i in range(2))
    place, reason = find_elbow(bio, batch, noise)
    if reason in {"no_drop", "no_gain"}:
        assert bio[0] - bio[-1] <= noise or batch[-1] <= batch[0]
        return
    _, distance = brute_elbow(bio, batch)
    if place is None:
        assert reason == "no_elbow" and distance <= noise + 1e-9
    else:
        assert distance > noise - 1e-9
        assert brute_elbow([bio[0], bio[place], bio[-1]], [batch[0], batch[place], batch[-1]])[1] == pytest.approx(
            distance
        )


def test_an_elbow_needs_three_strengths_a_drop_and_a_gain():
    assert find_elbow([0.8, 0.79, 0.4], [0.2, 0.7, 0.75], 0.02) == (1, "")
    assert find_elbow([0.8, 0.4], [0.2, 0.7], 0.02) == (None, "few_strengths")
    assert find_elbow([0.8, math.nan, 0.4], [0.2, 0.5, 0.7], 0.02) == (None, "no_scores")
    assert find_elbow([0.8, 0.9, 0.79], [0.2, 0.5, 0.7], 0.02) == (None, "no_drop")
    assert find_elbow([0.8, 0.6, 0.4], [0.7, 0.8, 0.6], 0.02) == (None, "no_gain")
    assert find_elbow([0.8, 0.6, 0.4], [0.2, 0.4, 0.6], 0.02) == (None, "no_elbow")
    schema = Schemas(ASSETS).rules("sweep")["elbow_reason"]["enum"]
    assert set(schema) == {"", *NO_ELBOW}


def test_strengths_are_parameters_of_a_method():
    known = {name for group in SCHEMA["$defs"].values() for name in group["properties"]}
    for name in load_strengths():
        assert name in known and name.partition("_")[0] in METHODS


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A run in which Harmony was swept over theta with two seeds."""
    return report_data(tmp_path_factory.mktemp("sweep"), datasets=("pbmc",), methods=("pca", "harmony"))


def test_the_table_has_means_over_seeds_and_the_verdicts(data):
    sweep = data.tables["sweep"].set_index("point")
    assert list(sweep["strength"]) == [0, 2, 8] and list(sweep["strength_rank"]) == [1, 2, 3]
    assert (sweep["n_seeds"] == len(SEEDS)).all() and (sweep["tolerance_from"] == "sd").all()
    best = sweep["batch"].idxmax()
    assert sweep["tolerance"].iloc[0] == pytest.approx(sweep.loc[best, "batch_sd"])
    eligible = sweep[sweep["batch"] >= sweep.loc[best, "batch"] - sweep.loc[best, "batch_sd"]]
    assert list(sweep.index[sweep["picked"]]) == [eligible["bio"].idxmax()]
    for a, b in itertools.permutations(sweep.index, 2):
        if (sweep.loc[b, ["bio", "batch"]] > sweep.loc[a, ["bio", "batch"]]).all():
            assert not sweep.loc[a, "front"]
    assert list(sweep.index[sweep["elbow"]]) == ["harmony-theta2"]
    assert set(sweep["worst_label"]) <= {"B", "CD4 T", "Mono"}  # HSC lies in one batch
    assert sweep["overfit"].isna().all()  # Harmony trains no model


def test_points_are_no_methods_of_the_run(data):
    points = set(data.tables["sweep"]["point"])
    for name in ("totals", "scores", "resources", "probing"):
        assert not points & {e.partition(".")[0] for e in data.tables[name].get("embedding", pd.Series(dtype=str))}, (
            name
        )
    assert not points & set(data.plan["method"])
    assert points <= set(data.tables["status"]["method"])
    assert not [m for m in data.messages if m["method"] in points]


def test_a_point_has_the_title_of_its_method_with_the_settings(data, tmp_path):
    plan = pd.DataFrame(
        {
            "method": ["harmony", "harmony-theta8", "harmony-stage1"],
            "base_method": "harmony",
            "instance": ["", "sweep", "stage"],
            "settings": ["{}", '{"harmony_theta": 8}', '{"harmony_stages": "donor > tissue", "harmony_stage": 1}'],
        }
    )
    titles = read_methods(ASSETS / "methods.tsv", plan).set_index("name")["title"]
    assert titles["harmony-theta8"] == "Harmony (theta 8)"
    assert titles["harmony-stage1"] == "Harmony, stage 1 (donor inside tissue)"


def test_the_section_says_the_pick_and_shows_every_setting(data):
    (section,) = sweep_sections(data, "pbmc")
    sweep = data.tables["sweep"]
    text = str(section.data)
    for setting in sweep["settings"]:
        assert setting in text
    assert "Picked by rule" in text and "<svg" in text
    marks = sweep_marks(sweep)
    assert [m.start for m in marks] == [None, 0, 1]  # from a strength to the next
    assert [m.marker for m in marks].count("*") == 1


def test_sentences_say_what_the_rule_had_to_choose_from():
    base = {
        "elbow": False,
        "elbow_reason": "few_strengths",
        "strength_name": "theta",
        "series": "sigma 0.1",
        "status": "ok",
    }
    rows = [
        {
            "settings": "theta 0",
            "bio": 0.8,
            "batch": 0.4,
            "eligible": False,
            "picked": False,
            "alike": False,
            "strength": 0,
        },
        {
            "settings": "theta 8",
            "bio": 0.7,
            "batch": 0.7,
            "eligible": True,
            "picked": True,
            "alike": False,
            "strength": 8,
        },
    ]
    table = pd.DataFrame([base | row | {"tolerance": 0.02, "tolerance_from": "tie_tolerance"} for row in rows])
    (said,) = pick_sentences(table)
    assert "theta 8 (bio 0.700, batch 0.700)" in said and "one seed" in said and "the only setting" in said
    assert elbow_sentences(table) == ["No elbow over theta (sigma 0.1): fewer than three strengths."]
    table["eligible"], table["alike"] = True, ~table["picked"]
    assert "can't be told apart from that of 'theta 0'" in pick_sentences(table)[0]
    none = table.assign(picked=False)
    assert pick_sentences(none) == ["No setting has both a bio and a batch score: the rule picks none."]
