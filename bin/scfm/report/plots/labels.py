"""Places of names in a scatter so that they cover neither points nor each other.

A greedy search over a fixed list of places around each point: the same points always give the same places, unlike the
random search of adjustText, which is no dependency of the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.report.plots.svg import MARGINS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Box = tuple[float, float, float, float]
#: width of a letter and height of a line, in parts of the font size
LETTER, LINE = 0.62, 1.25
#: directions around a point, best first: right, left, above, below, then the corners
_AROUND = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))
_DISTANCES = (9.0, 18.0, 32.0, 50.0, 72.0)
#: of names in a plot, in pixels
FONT = 12.0
_POINTS = 0.72  # points of matplotlib per pixel
#: beyond this distance a line joins name and point
LEADER = 18.0


@dataclass(frozen=True)
class Place:
    """The place of a name: the left end and the middle of its line, in pixels, and whether a line leads to it."""

    x: float
    y: float
    leader: bool


def place_labels(
    names: Sequence[str],
    points: Sequence[tuple[float, float]],
    *,
    size: tuple[float, float],
    font: float,
    obstacles: Sequence[Box] = (),
    mark: float = 6.0,
) -> list[Place | None]:
    """Return a place for every name, None where there is no room (the point then has its title only).

    Parameters
    ----------
    names, points
        Names, the most important ones first, and their points in pixels; an empty name takes no room.
    size
        Width and height of the plot in pixels; names stay inside.
    font
        Font size in pixels.
    obstacles
        Boxes (left, top, right, bottom) that names may not cover, beside the points.
    mark
        Half the size of a point.
    """
    taken = [(x - mark, y - mark, x + mark, y + mark) for x, y in points] + list(obstacles)
    found: list[Place | None] = []
    for name, point in zip(names, points, strict=True):
        choice = _first_free(name, point, taken, size, font) if name else None
        if choice:
            taken.append(choice[0])
        found.append(choice[1] if choice else None)
    return found


def _first_free(
    name: str, point: tuple[float, float], taken: Sequence[Box], size: tuple[float, float], font: float
) -> tuple[Box, Place] | None:
    """Return the nearest place of a name that is free and inside the plot."""
    width, height = LETTER * font * len(name), LINE * font
    for distance in _DISTANCES:
        for right, down in _AROUND:
            centre = point[0] + right * (distance + width / 2), point[1] + down * (distance + height / 4)
            box = (centre[0] - width / 2, centre[1] - height / 2, centre[0] + width / 2, centre[1] + height / 2)
            inside = box[0] >= 0 and box[1] >= 0 and box[2] <= size[0] and box[3] <= size[1]
            if inside and not any(overlap(box, other) for other in taken):
                return box, Place(box[0], centre[1], distance > LEADER)
    return None


def overlap(a: Box, b: Box) -> bool:
    """Tell whether two boxes have a common area."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def write_names(
    figure: "Figure",
    names: Sequence[str],
    points: Sequence[tuple[float, float]],
    size: tuple[float, float],
    *,
    obstacles: Sequence[Box] = (),
) -> None:
    """Write names beside their points in a figure, with a line where they are further away.

    Parameters
    ----------
    figure
        Figure of ``size`` pixels with the margins of :data:`scfm.report.plots.svg.MARGINS`, which names keep off.
    names, points, obstacles
        See :func:`place_labels`.
    size
        Width and height in pixels.
    """
    from matplotlib.lines import Line2D

    width, height = size
    edges = [(0.0, 0.0, MARGINS[0], height), (0.0, height - MARGINS[3], width, height)]
    places = place_labels(names, points, size=size, font=FONT, obstacles=[*obstacles, *edges], mark=5.0)
    for name, point, place in zip(names, points, places, strict=True):
        if place is None:
            continue
        end = place.x + LETTER * FONT * len(name)
        before = end <= point[0]
        if place.leader:
            # to the nearest place of the name's box
            x = min(max(point[0], place.x), end)
            y = min(max(point[1], place.y - LINE * FONT / 2), place.y + LINE * FONT / 2)
            line = [point[0] / width, x / width], [1 - point[1] / height, 1 - y / height]
            figure.add_artist(Line2D(*line, color="#999999", linewidth=0.7))
        figure.text(
            (end if before else place.x) / width, 1 - place.y / height, name, fontsize=FONT * _POINTS, va="center",
            ha="right" if before else "left", color="#1a1a1a",
        )  # fmt: skip
