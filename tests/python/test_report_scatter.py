"""The scatter: points, names, diagonal, band and ranges."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from scfm.report.plots.scatter import SQUARE, Plot, Point, draw_scatter
from scfm.report.plots.svg import MARGINS, Frame, span

AGREEMENT = Plot("k", "Published", "Ours", {"a <b>": "#111111"}, ["band"], diagonal=True, tolerance=0.03, size=SQUARE)


def svg_of(html: str) -> ElementTree.Element:
    """Return the SVG of a plot, which must be well-formed."""
    return ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])


def texts(html: str) -> list[str]:
    """Return the texts of the SVG."""
    return [t.text for t in svg_of(html).iter("text")]


def titles(html: str) -> list[str]:
    """Return the tooltips of the SVG."""
    return [t.text for t in svg_of(html).iter("title")]


def points() -> list[Point]:
    """Return a point in the band, a hollow one outside, and one with a range."""
    return [
        Point("in <1>", 0.5, 0.51, "#111111", "tip <a>", named=False),
        Point("far & out", 0.5, 0.9, "#222222", "b", hollow=True),
        Point("ranged", 0.7, 0.6, "#333333", "c", named=False, low=0.6, high=0.8),
    ]


def test_every_point_has_its_tip_and_only_named_ones_a_name():
    html = draw_scatter(points(), AGREEMENT)
    assert titles(html) == ["tip <a>", "b", "c"]
    assert "far & out" in texts(html) and not any("in <1>" in t or "ranged" in t for t in texts(html))
    assert "a &lt;b&gt;" in html and "<b>" not in html and "band" in html
    assert titles(draw_scatter([Point("A", 0.25, 1.0, "#111111")], Plot("k", "x", "y", {}))) == ["A: 0.250, 1.000"]


def test_the_band_and_the_diagonal_are_drawn_only_where_asked_for():
    with_band, line = draw_scatter(points(), AGREEMENT), Plot("k", "x", "y", {}, diagonal=True, size=SQUARE)
    assert with_band.count("FillBetweenPolyCollection") == 1
    assert "FillBetween" not in draw_scatter(points(), line)
    dashes = [
        h.count("stroke-dasharray: 4")
        for h in (draw_scatter(points(), line), draw_scatter(points(), Plot("k", "x", "y", {})))
    ]
    assert dashes[0] == dashes[1] + 1


def test_a_diagonal_gives_both_axes_one_span():
    html = draw_scatter([Point("a", 0.1, 0.9, "#111111"), Point("b", 0.2, 0.8, "#111111")], AGREEMENT)
    numbers = [t for t in texts(html) if re.fullmatch(r"[0-9.]+", t or "")]
    assert sorted(numbers)[: len(numbers) // 2 * 2 : 2] == sorted(numbers)[1::2] and len(numbers) >= 8


def test_a_frame_places_the_corners_at_the_margins():
    frame = Frame((0.0, 1.0), (2.0, 4.0), (400.0, 300.0))
    left, right, top, bottom = MARGINS
    assert frame.place(0.0, 4.0) == (left, top)
    assert frame.place(1.0, 2.0) == (400 - right, 300 - bottom)
    assert frame.place(0.5, 3.0) == pytest.approx(((left + 400 - right) / 2, (top + 300 - bottom) / 2))


def test_a_span_has_a_margin_and_is_never_empty():
    assert span([0.0, 1.0]) == pytest.approx((-0.08, 1.08))
    assert span([0.5]) == pytest.approx((0.45, 0.55))
