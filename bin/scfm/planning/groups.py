"""Which embeddings share the tasks of the steps after they were made: the column ``task_group`` of the plan.

The start of a process takes seconds, the steps of a small embedding less. Groups are a matter of the plan, so that they
are the same whatever finishes first, and a run that is resumed finds its tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.planning.models import RANDOM

if TYPE_CHECKING:
    from scfm.planning.models import PlannedModel
    from scfm.registries.methods import Method

#: embeddings in a group at most
MAX_EMBEDDINGS = 12
#: values (cells x dimensions) of all embeddings of a group together: about a minute of the metrics on one core
MAX_VALUES = 2_000_000
#: dimensions of an embedding that is not known before it is read: an imported one
UNKNOWN_DIMS = 512


def assign_groups(
    rows: Sequence[dict], *, n_cells: int, dims: Mapping[str, int], slow: frozenset[str], size: int | None = None
) -> None:
    """Set ``task_group`` of every row of one data set's plan.

    Whole methods (all seeds and corrections) are put into one group, in the order of the plan, as many as fit. Unless a
    size is given, a slow method shares its group with controls only, so that no other method waits for it. Where two
    embeddings do not fit into a group, every embedding is on its own. A row on its own has its embedding's id as its
    group, the others have ``<dataset>.group_<number>``, and rows that can't run have none.

    Parameters
    ----------
    rows
        Rows of :func:`scfm.planning.plan.plan_rows`; changed.
    n_cells
        Cells of the data set.
    dims
        Method -> dimensions of its embeddings, as far as known; else :data:`UNKNOWN_DIMS`.
    slow
        Methods that train or run a network.
    size
        Embeddings in a group at most (a method that has more is not split); 1 gives every embedding a task of its own.
        None: :data:`MAX_EMBEDDINGS`, and no more than have :data:`MAX_VALUES` values together.
    """
    methods: dict[str, list[dict]] = {}
    for row in rows:
        row["task_group"] = ""
        if not row["status"]:
            methods.setdefault(row["method"], []).append(row)
    groups: list[_Group] = []
    for members in methods.values():
        method = members[0]["base_method"]
        values = n_cells * dims.get(method, UNKNOWN_DIMS)
        share = 1 / size if size else max(1 / MAX_EMBEDDINGS, values / MAX_VALUES)
        if share > 1 / 2:
            groups += [_Group([row], is_slow=True, room=0.0) for row in members]
            continue
        is_slow = method in slow and size is None
        group = None if is_slow else _with_room(groups, share * len(members), is_control=members[0]["is_control"])
        if group is None:
            group = _Group([], is_slow=is_slow, room=1.0)
            groups.append(group)
        group.rows += members
        group.room -= share * len(members)
    shared = [group for group in groups if len(group.rows) > 1]
    for number, group in enumerate(shared, start=1):
        for row in group.rows:
            row["task_group"] = f"{row['dataset']}.group_{number}"
    for row in (group.rows[0] for group in groups if len(group.rows) == 1):
        row["task_group"] = f"{row['dataset']}.{row['embedding']}"


@dataclass
class _Group:
    """Rows that share tasks; ``room`` is what is left of a whole group, as a share."""

    rows: list[dict]
    is_slow: bool
    room: float


def _with_room(groups: Sequence[_Group], need: float, *, is_control: bool) -> "_Group | None":
    """Return the first group that a method fits into; a control first of all into that of a slow method, which takes
    nothing else.
    """
    fitting = [group for group in groups if need <= group.room + 1e-9]
    slow, others = [g for g in fitting if g.is_slow], [g for g in fitting if not g.is_slow]
    return next(iter((slow if is_control else []) + others), None)


def widths(methods: Mapping[str, "Method"], models: Sequence["PlannedModel"], *, n_pcs: int) -> dict[str, int]:
    """Return the dimensions of the methods' and models' embeddings, the largest a model can have."""
    found = dict.fromkeys(methods, n_pcs)
    for planned in models:
        wide = max(map(int, planned.info.dims))
        found |= {planned.info.name: wide, planned.info.name + RANDOM: wide}
    return found


def slow_methods(methods: Mapping[str, "Method"], models: Sequence["PlannedModel"]) -> frozenset[str]:
    """Return the names of what trains or runs a network: all that could use a GPU."""
    names = [planned.info.name for planned in models if planned.info.uses_gpu]
    return frozenset([name for name, m in methods.items() if m.uses_gpu] + names + [name + RANDOM for name in names])
