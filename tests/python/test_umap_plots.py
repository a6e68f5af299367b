"""Pictures: colours that differ, cells in random order, legends that stay readable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from scfm.umap.draw import drawn_keys
from scfm.umap.plots import (
    MISSING,
    NOTE,
    _densest_place,
    _legend_entries,
    _scatter,
    draw_gallery,
    draw_one,
    draw_panels,
    palette,
)


def picture(n: int = 400, n_labels: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "cell_id": [f"c{i}" for i in range(n)],
            "embedding": "pca.raw.0",
            "umap_1": rng.normal(size=n),
            "umap_2": rng.normal(size=n),
            "batch": np.repeat(["a", "b"], n // 2),
            "label": [f"type{i % n_labels:02d}" for i in range(n)],
        }
    )


@pytest.mark.parametrize("n", [1, 2, 8, 9, 10, 20, 21, 60])
def test_colours_differ_and_do_not_depend_on_order(n):
    names = [f"n{i:02d}" for i in range(n)]
    colors = palette(names)
    assert len(set(colors.values())) == n
    assert colors == palette(names[::-1] + names)


def test_no_batch_lies_on_top():
    table, axes = picture(), Figure().add_subplot()
    colors = palette(["a", "b"])
    _scatter(axes, table, "batch", colors=colors, seed=0)
    shades = [to_hex(c).upper() for c in axes.collections[0].get_facecolors()]
    last = np.mean([s == colors["b"] for s in shades[-100:]])
    assert len(shades) == 400
    assert 0.3 < last < 0.7


def test_labels_are_named_on_the_picture_where_they_are_dense():
    table, axes = picture(), Figure().add_subplot()
    _scatter(axes, table, "label", colors=palette(table["label"].tolist()), seed=0)
    assert [t.get_text() for t in axes.texts] == ["type00", "type01", "type02", "type03"]
    two_groups = np.vstack([np.random.default_rng(0).normal(size=(60, 2)), np.full((40, 2), 30.0)])
    place = _densest_place(two_groups)
    assert min(np.linalg.norm(two_groups - place, axis=1)) < 1.0


def test_legend_counts_cells_shows_the_missing_and_has_an_end():
    table = picture(400, 50)
    table.loc[:9, "label"] = None
    _, texts = _legend_entries(table, "label", palette(table["label"].dropna().tolist()))
    assert f"{MISSING} (10)" in texts
    assert texts[-1] == "and 15 more"
    assert len(texts) == 37


def test_pictures_are_written_with_their_note(tmp_path, monkeypatch):
    from scfm.umap import plots

    figures, make = [], plots._figure
    monkeypatch.setattr(plots, "_figure", lambda *size: figures.append(make(*size)) or figures[-1])
    table = picture(n_labels=30)
    draw_one(table, "label", tmp_path / "one.png", seed=0)
    draw_gallery({"pca.raw.0": table, "scvi.raw.0": table}, tmp_path / "all.png", title="toy: linear", seed=0)
    for figure, name in zip(figures, ("one.png", "all.png"), strict=True):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert figure._supxlabel.get_text() == NOTE
    titles = [axes.get_title(loc="left") for axes in figures[1].axes]
    assert titles[:4] == ["pca.raw.0: batch", "pca.raw.0: label", "scvi.raw.0: batch", "scvi.raw.0: label"]


def test_a_panel_per_condition_shows_its_cells_and_greys_all_others(tmp_path, monkeypatch):
    from scfm.umap import plots

    figures, make = [], plots._figure
    monkeypatch.setattr(plots, "_figure", lambda *size: figures.append(make(*size)) or figures[-1])
    table = picture().assign(condition=np.repeat(["before", "after", "late", None], 100))
    draw_panels(table, "condition", tmp_path / "panels.png", seed=0)
    (figure,) = figures
    panels = figure.axes[:-1]
    assert [axes.get_title(loc="left") for axes in panels] == ["after (100)", "before (100)", "late (100)"]
    for axes in panels:
        others, own = axes.collections
        assert (len(others.get_offsets()), len(own.get_offsets())) == (300, 100)
    assert figure._supxlabel.get_text() == NOTE and (tmp_path / "panels.png").stat().st_size > 1000
    many = table.assign(condition=[f"c{i % 20:02d}" for i in range(len(table))])
    draw_panels(many, "condition", tmp_path / "many.png", seed=0)
    assert len(figures[1].axes) == 13 and "the 12 largest of 20" in figures[1]._suptitle.get_text()


def test_keys_that_split_as_the_batch_does_have_no_picture_of_their_own():
    cells = pd.DataFrame({"batch": ["a", "a", "b", "b"], "condition": ["x", "x", "y", "y"], "tissue": ["t"] * 4})
    assert drawn_keys(cells.assign(donor=None)) == []
    assert drawn_keys(cells.assign(donor=["d", "e", "d", "e"], condition=["x", "x", "y", None])) == [
        "condition",
        "donor",
    ]
