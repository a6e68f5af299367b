"""Shards: cells of a data set that are embedded as independent tasks, cut by cell id.

:mod:`scfm.models.core.merging` joins them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.io.parquet import open_parquet, read_arrow
from scfm.io.tables import CELL_ID
from scfm.registries.messages import message
from scfm.text import plural

log = logging.getLogger(__name__)

#: the runner's warning about cells without a row, which counts the cells of one shard
NO_ROW = "W-MOD-03"


def split_cells(
    obs: Path | str, outdir: Path | str, *, shard_cells: int, groups: bool = False, group_column: str = ""
) -> list[Path]:
    """Write one file of cell ids per shard.

    Parameters
    ----------
    obs
        ``<dataset>.obs.parquet``.
    outdir
        Folder for ``shard_000.txt`` ….
    shard_cells
        Cells per shard; 0 = one shard with all cells.
    groups
        Cells attend to each other: no shard may cut a group, so a shard is one or more whole groups.
    group_column
        Column of ``obs`` that holds the groups; empty or absent = all cells are one group.

    Returns
    -------
    The files.
    """
    if shard_cells < 0:
        raise ScfmError(f"--shard_cells {shard_cells}: expected 0 (no sharding) or more.")
    with open_parquet(obs) as file:
        known = file.schema_arrow.names
    column = group_column if groups and group_column in known else None
    table = read_arrow(obs, [CELL_ID, *([column] if column else [])])
    ids = [str(c) for c in table.column(CELL_ID).to_pylist()]
    if not ids:
        raise ScfmError(f"{obs}: there are no cells to embed.")
    broken = [cell for cell in ids if "\n" in cell or cell.endswith("\r")]
    if broken:
        raise ScfmError(
            f"{obs}: {plural(len(broken), 'cell id')} of {len(ids):,} would not fit on one line of a list (such as"
            f" {broken[0]!r}). Name these cells without line ends."
        )
    values = table.column(column).to_pylist() if column else [""] * len(ids)
    if groups and shard_cells and column is None:
        log.info(
            "the cells of this model attend to each other and %s: one shard with all %d cells",
            f"'{group_column}' is no column of {Path(obs).name}" if group_column else "no group_column is set",
            len(ids),
        )
    shards = plan_shards(ids, values, shard_cells=shard_cells, whole_groups=groups)
    Path(outdir).mkdir(parents=True, exist_ok=True)
    width = max(3, len(str(len(shards) - 1)))
    paths = [Path(outdir) / f"shard_{i:0{width}d}.txt" for i in range(len(shards))]
    for path, shard in zip(paths, shards, strict=True):
        path.write_text("".join(f"{cell}\n" for cell in shard), encoding="utf-8", newline="\n")
    log.info("%d cells in %d shards of %d to %d", len(ids), len(shards), min(map(len, shards)), max(map(len, shards)))
    return paths


def read_cells(path: Path) -> list[str]:
    """Read a file of cell ids, one a line; only a line feed (or CRLF) ends a line: an id may hold other separators."""
    if not path.is_file():
        raise ScfmError(f"{path}: the file with the cell ids does not exist.")
    with path.open(encoding="utf-8", newline="\n") as file:
        return [line.removesuffix("\n").removesuffix("\r") for line in file]


def plan_shards(ids: Sequence[str], groups: Sequence[Any], *, shard_cells: int, whole_groups: bool) -> list[list[str]]:
    """Return the cell ids of every shard, sorted; the order of the input has no influence.

    Parameters
    ----------
    ids, groups
        Cell ids and the group of each; None is a group of its own.
    shard_cells
        Cells per shard; 0 = all in one. With whole groups the shards are filled up to it, and a larger group is one
        shard.
    whole_groups
        Whether a group must stay together.
    """
    ordered = sorted(ids)
    if not shard_cells or (shard_cells >= len(ordered)):
        return [ordered]
    if not whole_groups:
        # shards of even size: 1,001 cells by 1,000 are 501 and 500, not 1,000 and 1
        n = -(-len(ordered) // shard_cells)
        return [ordered[i * len(ordered) // n : (i + 1) * len(ordered) // n] for i in range(n)]
    members: dict[str, list[str]] = {}
    for cell, group in zip(ids, groups, strict=True):
        members.setdefault("" if group is None else f"={group}", []).append(cell)
    shards: list[list[str]] = []
    for _, cells in sorted(members.items()):
        if shards and len(shards[-1]) + len(cells) <= shard_cells:
            shards[-1] += cells
        else:
            shards.append(list(cells))
    return [sorted(shard) for shard in shards]


def no_row_warning(lacking: Sequence[tuple[str, str]], *, method: str) -> dict:
    """Return the warning about cells that got no row, given their ids and reasons."""
    cell, reason = lacking[0]
    return message(
        NO_ROW,
        cell=cell,
        reason=reason,
        method=method,
        values={"n": len(lacking)},
    )
