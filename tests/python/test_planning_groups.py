"""Which embeddings share tasks: whole methods in the order of the plan, slow ones with controls, no more than fit."""

from __future__ import annotations

from scfm.inputs.params import Choice
from scfm.planning.groups import MAX_EMBEDDINGS, MAX_VALUES, assign_groups, slow_methods, widths
from scfm.planning.models import PlannedModel
from scfm.planning.plan import plan_rows
from scfm.registries.methods import load_methods
from scfm.registries.models import load_model_table

METHODS = load_methods()
DEMO = Choice(["pca", "harmony", "scanorama", "scvi", "combat"], ["shuffled", "label_onehot"], ["l2", "center_l2"], [0])


def groups(choice: Choice = DEMO, *, n_cells: int = 1200, imported=(), models=(), **more) -> dict[str, list[str]]:
    """Return the embeddings of every group of a data set."""
    rows = plan_rows("d", choice, METHODS, imported, models)
    assign_groups(
        rows,
        n_cells=n_cells,
        dims=widths(METHODS, models, n_pcs=50),
        slow=slow_methods(METHODS, models),
        **{"size": None} | more,
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["task_group"], []).append(row["embedding"])
    return found


def of_method(*names: str) -> list[str]:
    return [f"{name}.{c}.0" for name in names for c in ("raw", "l2", "center_l2")]


def test_small_embeddings_share_tasks_and_only_controls_wait_for_a_network() -> None:
    assert groups() == {
        "d.group_1": of_method("pca", "harmony", "scanorama", "combat"),
        "d.group_2": [*of_method("scvi"), "shuffled.raw.0", "label_onehot.raw.0"],
    }
    without = Choice(["pca", "harmony"], ["shuffled"], ["l2"], [0])
    assert groups(without) == {
        "d.group_1": [f"{n}.{c}.0" for n in ("pca", "harmony") for c in ("raw", "l2")] + ["shuffled.raw.0"]
    }


def test_controls_that_do_not_fit_beside_a_network_are_with_the_others() -> None:
    seeds = Choice(["pca", "scvi"], ["random", "shuffled", "label_onehot"], ["l2", "center_l2"], [0, 1, 2])
    found = groups(seeds)
    assert [len(members) for members in found.values()] == [7, 12]
    assert {name.split(".")[0] for name in found["d.group_2"]} == {"scvi", "random"}


def test_groups_are_bounded_by_number_and_by_values() -> None:
    for n_cells in (10, 1_200, 5_000, 13_000):
        for members in groups(n_cells=n_cells).values():
            assert len(members) <= max(MAX_EMBEDDINGS, 3)
            methods = {name.split(".")[0] for name in members}
            assert len(methods) == 1 or len(members) * n_cells * 50 <= MAX_VALUES
    # of 13,000 cells three embeddings fit: a method with its corrections; of 30,000 not even two
    assert next(iter(groups(n_cells=13_000).values())) == of_method("pca")
    assert all(len(members) == 1 for members in groups(n_cells=30_000).values())


def test_an_embedding_on_its_own_has_its_id_as_its_group() -> None:
    alone = groups(size=1)
    assert alone == {f"d.{name}": [name] for members in groups().values() for name in members}
    assert groups(Choice(["pca"], [], [], [0])) == {"d.pca.raw.0": ["pca.raw.0"]}


def test_a_size_given_is_kept_and_no_method_is_split() -> None:
    assert list(groups(size=6).values())[:2] == [of_method("pca", "harmony"), of_method("scanorama", "scvi")]
    assert list(groups(size=100)) == ["d.group_1"]  # scVI too: who asks for a size accepts to wait
    seeds = Choice(["harmony", "pca"], [], ["l2"], [0, 1, 2, 3])
    assert [len(members) for members in groups(seeds, size=4).values()] == [8, 2]


def test_wide_embeddings_fill_a_group_sooner() -> None:
    uce = PlannedModel(load_model_table()["uce"], {}, with_random=True)
    found = groups(DEMO, n_cells=400, imported=["mine"], models=[uce])
    assert found["d.uce_random.raw.0"] == ["uce_random.raw.0"]  # slow, and one
    assert of_method("uce") in found.values() and of_method("mine") in found.values()
    assert all(len(m) == 1 for name, m in groups(DEMO, models=[uce]).items() if "uce" in name)
    assert [len(m) for m in groups(Choice(), n_cells=2_500, imported=["mine", "other"]).values()] == [1, 1]


def test_what_can_not_run_is_in_no_group() -> None:
    rows = plan_rows("d", DEMO, METHODS, [])
    for row in rows:
        row["status"] = "not_applicable" if row["method"] == "harmony" else ""
    assign_groups(rows, n_cells=100, dims={}, slow=frozenset())
    assert {row["task_group"] for row in rows if row["method"] == "harmony"} == {""}
    assert all(row["task_group"] for row in rows if row["method"] != "harmony")
