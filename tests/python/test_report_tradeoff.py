"""The trade-off plot: its points, arrows, floor and names."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers_report import read_report
from scfm.report.plots.labels import LETTER, LINE, overlap, place_labels
from scfm.report.plots.tradeoff import NARROW, Mark, draw_tradeoff
from scfm.report.sections.tradeoff import make_marks, shapes_of, tradeoff_sections
from scfm.report.view.rows import CONTROL, embedding_rows

POINT = (0.7, 0.7, 0.7)


@pytest.fixture(scope="module")
def data(collected_run):
    """The report data of a simulated run."""
    return read_report(*collected_run)


@pytest.fixture(scope="module")
def section(data):
    """The section of ``pbmc``."""
    return tradeoff_sections(data, "pbmc")[0].data


def texts(svg: str) -> list[str]:
    """Return the texts of an SVG, which must be well-formed."""
    return [t.text for t in ElementTree.fromstring(svg).iter("text")]


def mark(label="A", bio=0.5, batch=0.5, **options) -> Mark:
    """Return a point without a range."""
    values = {"title": f"{label}!", "kind": "method", "start": None, **options}
    return Mark(label, bio=(bio,) * 3, batch=(batch,) * 3, **values)


def test_every_embedding_with_both_scores_is_a_point_and_controls_are_not(data, section):
    rows = [r for r in embedding_rows(data, "pbmc") if r.group != CONTROL and r.bio.known and r.batch.known]
    for row in rows:
        title = f"<title>{row.title}: bio {row.bio.mean:.3f}, batch {row.batch.mean:.3f}"
        assert section.count(title) == 2, title  # the wide plot and the narrow one
    assert section.count("<title>") == 2 * len(rows) and "Random noise" not in section


def test_a_name_is_written_once_per_method_and_an_arrow_leads_to_its_correction(data):
    rows = [r for r in embedding_rows(data, "pbmc") if r.key in {("pca", "raw"), ("pca", "center_l2")}]
    marks = {r.key: m for r, m in zip(rows, make_marks(data, rows), strict=True)}
    assert (marks["pca", "raw"].label, marks["pca", "center_l2"].label) == ("PCA", "")
    assert rows[marks["pca", "center_l2"].start].key == ("pca", "raw")
    alone = make_marks(data, [r for r in rows if r.correction != "raw"])
    assert (alone[0].label, alone[0].start) == ("PCA + center_l2", None)


def test_corrections_have_a_shape_each_and_no_name(data):
    from dataclasses import replace

    rows = [r for r in embedding_rows(data, "pbmc") if r.method == "pca"]
    rows.append(replace(rows[0], correction="l2", title="PCA + l2"))
    marks = {m.title.split(":")[0]: m for m in make_marks(data, rows)}
    assert sorted(m.label for m in marks.values()) == ["", "", "PCA"]
    assert [marks[t].marker for t in ("PCA", "PCA + center_l2", "PCA + l2")] == ["", "^", "D"]
    assert shapes_of(rows) == {"center_l2": ("^", "▲"), "l2": ("D", "◆")}


def test_the_plot_has_one_arrow_per_correction_and_the_same_text_every_time():
    marks = [mark("A", 0.5, 0.3), mark("", 0.55, 0.8, start=0, kind="corrected"), mark("B", 0.7, 0.4)]
    svg = draw_tradeoff(marks, floor=0.48, key="k")
    assert svg == draw_tradeoff(marks, floor=0.48, key="k")
    assert {"A", "B", "no better than the floor (bio up to 0.48)"} <= set(texts(svg))
    bare = draw_tradeoff([marks[0], mark("", 0.55, 0.8), marks[2]], floor=0.48, key="k")
    assert svg.count('id="k-patch_') == bare.count('id="k-patch_') + 1


def test_a_floor_far_below_the_points_is_said_and_does_not_stretch_the_axis():
    marks = [mark("A", 0.70, 0.3), mark("B", 0.75, 0.5)]
    said = texts(draw_tradeoff(marks, floor=0.1, key="k"))
    assert "no better than the floor (bio up to 0.10, below this axis)" in said
    assert min(float(t) for t in said if re.fullmatch(r"0\.\d+", t)) >= 0.3
    assert not any("floor" in t for t in texts(draw_tradeoff(marks, floor=math.nan, key="k")))


def test_ids_of_two_plots_differ_and_references_stay_inside():
    one, two = (draw_tradeoff([mark(), mark("B", 0.6, 0.7)], floor=0.4, key=k) for k in ("one", "two"))
    ids = [set(re.findall(r'\sid="([^"]+)"', svg)) for svg in (one, two)]
    assert not ids[0] & ids[1]
    for svg, known in zip((one, two), ids, strict=True):
        assert set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg)) <= {(i, "") for i in known} | {
            ("", i) for i in known
        }


def test_names_are_escaped():
    svg = draw_tradeoff([mark("<b>&", title="<i>"), mark("B", 0.6, 0.7)], floor=math.nan, key="k")
    assert "<b>" not in svg and "<i>" not in svg and "<b>&" in texts(svg)


def test_fewer_than_two_points_are_no_trade_off(data):
    totals = data.totals[data.totals["embedding"] == "pca.raw.0"]
    assert tradeoff_sections(data.with_tables(totals=totals), "pbmc") == []
    assert tradeoff_sections(data, "ifnb") == []  # a biological batch has no batch mean


def test_the_narrow_plot_has_numbers_and_a_list_of_names(data, section):
    assert (
        "<ol class='scfm-points'>" in section and f'viewBox="0 0 {NARROW[0] * 0.72:g} {NARROW[1] * 0.72:g}"' in section
    )
    rows = [r for r in embedding_rows(data, "pbmc") if r.group != CONTROL and r.bio.known and r.batch.known]
    assert re.findall(r"<li>(.*?)</li>", section) == [r.title for r in rows]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(20, 780), st.floats(20, 480)), min_size=1, max_size=25),
    st.integers(1, 25),
)
def test_names_cover_neither_each_other_nor_points_and_stay_inside(points, length):
    names, font = ["x" * length] * len(points), 11.0
    places = place_labels(names, points, size=(800, 500), font=font)
    boxes = [
        (p.x, p.y - LINE * font / 2, p.x + LETTER * font * length, p.y + LINE * font / 2)
        for p in places
        if p is not None
    ]
    marks = [(x - 6, y - 6, x + 6, y + 6) for x, y in points]
    for i, box in enumerate(boxes):
        assert box[0] >= 0 and box[1] >= 0 and box[2] <= 800 and box[3] <= 500
        assert not any(overlap(box, other) for other in [*marks, *boxes[:i]])
    assert places == place_labels(names, points, size=(800, 500), font=font)


def test_a_lone_name_stands_right_of_its_point_without_a_line():
    (place,) = place_labels(["name"], [(100.0, 100.0)], size=(400, 300), font=10)
    assert (place.x, place.y, place.leader) == (109.0, 100.0, False)
    assert place_labels(["a name that is far too long"], [(10.0, 10.0)], size=(60, 20), font=10) == [None]
    assert place_labels([""], [(10.0, 10.0)], size=(60, 20), font=10) == [None]
