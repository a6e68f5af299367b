"""Which embeddings share the tasks of the steps after they were made: the column ``task_group`` of the plan.

The start of a process takes seconds, the steps of a small embedding less. Groups are a matter of the plan, so that they
are the same whatever finishes first, and a run that is resumed finds its tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    size is given, a slow method has a group of its own, so that the others need not wait for it. Where two embeddings
    do not fit into a group, every embedding is on its own. A row on its own has its embedding's id as its group, the
    others have ``<dataset>.group_<number>``, and rows that can't run have none.

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
    groups: list[list[dict]] = []
    room = 0.0  # of the group that is being filled, as a share of a whole one
    for method, members in methods.items():
        values = n_cells * dims.get(method, UNKNOWN_DIMS)
        share = 1 / size if size else max(1 / MAX_EMBEDDINGS, values / MAX_VALUES)
        need = share * len(members)
        is_slow = method in slow and size is None
        if share > 1 / 2:
            groups += [[row] for row in members]
            room = 0.0
        elif is_slow or need > room + 1e-9:
            groups.append(list(members))
            room = 0.0 if is_slow else 1 - need
        else:
            groups[-1] += members
            room -= need
    shared = [group for group in groups if len(group) > 1]
    for group in groups:
        for row in group:
            name = f"group_{shared.index(group) + 1}" if len(group) > 1 else row["embedding"]
            row["task_group"] = f"{row['dataset']}.{name}"


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
