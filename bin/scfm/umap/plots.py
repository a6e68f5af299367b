"""Drawing UMAPs: readable for colour-blind people, no batch on top, and a note on what the picture cannot show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTE = "A UMAP distorts distances and densities. It is not evidence for or against mixing: read the scores."
MISSING = "not known"
_MISSING_COLOR = "#BBBBBB"
#: Okabe & Ito (2008), strongest contrast first
_FEW = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
#: Tol's muted scheme (SRON technical note)
_MUTED = ("#332288", "#DDCC77", "#117733", "#CC6677", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499")
#: Tol's discrete rainbow (same note), without its palest and darkest tones
_MORE = (
    "#CAACCB",
    "#BA8DB4",
    "#AA6F9E",
    "#994F88",
    "#882E72",
    "#1965B0",
    "#437DBF",
    "#6195CF",
    "#7BAFDE",
    "#4EB265",
    "#90C987",
    "#CAE0AB",
    "#F7F056",
    "#F7CB45",
    "#F4A736",
    "#EE8026",
    "#E65518",
    "#DC050C",
    "#A5170E",
    "#72190E",
)
_MAX_LEGEND, _MAX_NAMED = 36, 30
#: panels of a picture, and how many are in a row
_MAX_PANELS, _PANELS_A_ROW = 12, 3
_OTHERS_COLOR = "#E4E4E4"


def palette(names: list[str]) -> dict[str, str]:
    """Return a colour per name, all different and safe for colour-blind readers.

    Up to 8 names Okabe-Ito, 9 Tol's muted scheme, up to 20 Tol's discrete rainbow, above that evenly spaced tones of
    cividis. Neighbours in the alphabet (T_CD4, T_CD8) get distant colours. The choice depends on the sorted names only,
    so that a batch has the same colour in every picture of a data set.
    """
    names = sorted(set(names))
    spread = [i for start in range(4) for i in range(start, len(names), 4)]
    if len(names) <= len(_MUTED):
        colors = list((_FEW if len(names) <= len(_FEW) else _MUTED)[: len(names)])
    elif len(names) <= len(_MORE):
        colors = [_MORE[round(i * (len(_MORE) - 1) / (len(names) - 1))] for i in spread]
    else:
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        colors = [to_hex(colormaps["cividis"](i / (len(names) - 1))) for i in spread]
    return dict(zip(names, colors, strict=True))


def _scatter(
    axes: "Axes", table: "pd.DataFrame", key: str, *, colors: Mapping[str, str], seed: int, named: bool = True
) -> None:
    """Draw the cells in random order; name each label where its cells are densest."""
    import numpy as np
    from matplotlib.patheffects import withStroke

    order = np.random.default_rng(seed).permutation(len(table))
    names = table[key].fillna(MISSING).to_numpy()
    points = table[["umap_1", "umap_2"]].to_numpy()
    shades = np.array([colors.get(name, _MISSING_COLOR) for name in names])
    size = float(np.clip(12000 / len(table), 0.6, 18))
    axes.scatter(points[order, 0], points[order, 1], c=shades[order], s=size, linewidths=0, alpha=0.85, rasterized=True)
    axes.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
    axes.set_box_aspect(1)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if named and key == "label" and len(colors) <= _MAX_NAMED:
        for name in sorted(colors):
            if (names == name).any():
                axes.text(
                    *_densest_place(points[names == name]),
                    name,
                    fontsize=7,
                    ha="center",
                    va="center",
                    path_effects=[withStroke(linewidth=2, foreground="white")],
                )


def _densest_place(points: "np.ndarray") -> "np.ndarray":
    """Return the middle of the fullest of 12 x 12 squares; the median may lie between two groups of cells."""
    import numpy as np

    low, high = points.min(axis=0), points.max(axis=0)
    square = np.floor(12 * (points - low) / np.maximum(high - low, 1e-9) * (1 - 1e-9)).astype(int) @ (12, 1)
    return np.median(points[square == np.bincount(square).argmax()], axis=0)


def _legend_entries(table: "pd.DataFrame", key: str, colors: Mapping[str, str]) -> tuple[list, list[str]]:
    """Return handles and texts, largest groups first where there are too many to show."""
    from matplotlib.lines import Line2D

    counts = table[key].fillna(MISSING).value_counts()
    shown = sorted(counts.index[:_MAX_LEGEND], key=lambda name: (name == MISSING, name))
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=6, color=colors.get(name, _MISSING_COLOR)) for name in shown
    ]
    texts = [f"{name} ({counts[name]:,})" for name in shown]
    if len(counts) > _MAX_LEGEND:
        handles.append(Line2D([], [], linestyle=""))
        texts.append(f"and {len(counts) - _MAX_LEGEND} more")
    return handles, texts


def _figure(width: float, height: float) -> "Figure":
    """Return a figure without pyplot, which keeps global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_one(table: "pd.DataFrame", key: str, path: Path, *, seed: int, n_cells: int | None = None) -> None:
    """Draw one embedding coloured by one key.

    Parameters
    ----------
    table
        ``embedding, umap_1, umap_2`` and the key's column.
    key
        ``batch``, ``label``, ``condition``, ``tissue`` or ``donor``.
    path
        PNG to write.
    seed
        Seed of the drawing order.
    n_cells
        Cells of which the table is a sample; the title states both numbers where they differ.
    """
    figure = _figure(7.2, 5.2)
    axes = figure.add_subplot()
    colors = palette(table[key].dropna().tolist())
    _scatter(axes, table, key, colors=colors, seed=seed)
    part = f" ({len(table):,} of {n_cells:,} cells)" if n_cells and n_cells > len(table) else ""
    axes.set_title(f"{table['embedding'].iloc[0]}: {key}{part}", loc="left", fontsize=11)
    handles, texts = _legend_entries(table, key, colors)
    axes.legend(
        handles,
        texts,
        title=f"{key} (cells)",
        loc="center left",
        bbox_to_anchor=(1.02, 0.5),
        frameon=False,
        fontsize=8,
        ncols=1 + len(texts) // 24,
        alignment="left",
    )
    figure.supxlabel(NOTE, fontsize=7, color="#555555")
    figure.savefig(path, dpi=120)


def draw_panels(table: "pd.DataFrame", key: str, path: Path, *, seed: int) -> None:
    """Draw one panel per level of a key: its cells coloured by label, all others in grey behind them.

    Parameters
    ----------
    table
        ``embedding, umap_1, umap_2, label`` and the key's column. Of many levels the twelve with most cells are drawn,
        which the title says.
    key
        ``condition``, or another column of the table.
    path
        PNG to write.
    seed
        Seed of the drawing order.
    """
    counts = table[key].value_counts()
    shown = sorted(counts.index[:_MAX_PANELS])
    colors = palette(table["label"].dropna().tolist())
    n_rows, n_columns = -(-len(shown) // _PANELS_A_ROW), min(len(shown), _PANELS_A_ROW)
    figure = _figure(3.4 * n_columns + 2.6, 3.6 * n_rows + 0.8)
    grid = figure.add_gridspec(n_rows, n_columns + 1, width_ratios=[3.4] * n_columns + [2.4])
    for place, level in enumerate(shown):
        axes = figure.add_subplot(grid[place // n_columns, place % n_columns])
        inside = (table[key] == level).to_numpy()
        others = table.loc[~inside, ["umap_1", "umap_2"]].to_numpy()
        axes.scatter(others[:, 0], others[:, 1], c=_OTHERS_COLOR, s=2, linewidths=0, rasterized=True)
        _scatter(axes, table[inside], "label", colors=colors, seed=seed, named=False)
        axes.set_title(f"{level} ({counts[level]:,})", loc="left", fontsize=10)
    side = figure.add_subplot(grid[:, n_columns])
    side.set_axis_off()
    side.legend(
        *_legend_entries(table, "label", colors),
        title="label (cells)",
        loc="upper left",
        frameon=False,
        fontsize=8,
        alignment="left",
    )
    part = f", the {len(shown)} largest of {len(counts)}" if len(counts) > len(shown) else ""
    figure.suptitle(f"{table['embedding'].iloc[0]}: one panel per {key}{part}", fontsize=11)
    figure.supxlabel(NOTE, fontsize=7, color="#555555")
    figure.savefig(path, dpi=100)


def draw_gallery(tables: "Mapping[str, pd.DataFrame]", path: Path, *, title: str, seed: int) -> None:
    """Draw one row per embedding, batch on the left and label on the right, with common colours and legends.

    Parameters
    ----------
    tables
        Table of each embedding by name, as for :func:`draw_one`.
    path
        PNG to write.
    title
        Title above.
    seed
        Seed of the drawing order.
    """
    import pandas as pd

    everything = pd.concat(tables.values()).drop_duplicates("cell_id")
    colors = {key: palette(everything[key].dropna().tolist()) for key in ("batch", "label")}
    entries = {key: _legend_entries(everything, key, colors[key]) for key in colors}
    legend_height = 0.19 * (sum(len(texts) for _, texts in entries.values()) + 5)
    figure = _figure(11.0, max(4.0 * len(tables), legend_height) + 0.8)
    grid = figure.add_gridspec(len(tables), 3, width_ratios=[4, 4, 2.6])
    for row, (name, table) in enumerate(tables.items()):
        for column, key in enumerate(colors):
            axes = figure.add_subplot(grid[row, column])
            _scatter(axes, table, key, colors=colors[key], seed=seed)
            axes.set_title(f"{name}: {key}", loc="left", fontsize=10)
    side = figure.add_subplot(grid[:, 2])
    side.set_axis_off()
    first = side.legend(
        *entries["batch"], title="batch (cells)", loc="upper left", frameon=False, fontsize=8, alignment="left"
    )
    side.add_artist(first)
    below = 1 - 0.19 * (len(entries["batch"][1]) + 2.5) / figure.get_figheight()
    side.legend(
        *entries["label"],
        title="label (cells)",
        loc="upper left",
        bbox_to_anchor=(0, below),
        frameon=False,
        fontsize=8,
        alignment="left",
    )
    figure.suptitle(title, fontsize=12)
    figure.supxlabel(NOTE, fontsize=8, color="#555555")
    figure.savefig(path, dpi=90)
