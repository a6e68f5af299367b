"""The loss curve of one trained model as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from scfm.report.plots.svg import STYLE, new_figure, to_svg

_LOOKS = {"Training": ("#5a9bd4", "-"), "Validation": ("#c25a00", "--")}
#: a curve of more points is thinned out; the best epoch is marked by its own
MAX_POINTS = 200


@dataclass(frozen=True)
class Training:
    """Curves as ``{name: [(epoch, loss)]}`` (lower is better), and the epoch whose weights were used, with its loss;
    None where that is the last one.
    """

    curves: Mapping[str, Sequence[tuple[float, float]]]
    best: tuple[float, float] | None = None


def draw_training(training: Training, *, key: str, label: str) -> Markup:
    """Return training and validation loss over epochs, the best epoch marked.

    Parameters
    ----------
    training
        Curves and best epoch.
    key
        Prefix of the ids in the SVG, different for every plot of a page.
    label
        What it shows, for screen readers.
    """
    from matplotlib import rc_context

    with rc_context(STYLE):
        figure = new_figure(420, 250)
        axes = figure.add_axes((0.17, 0.19, 0.8, 0.76), facecolor="none")
        for name, points in training.curves.items():
            colour, dashes = _LOOKS.get(name, ("#444444", "-"))
            kept = thin(points)
            axes.plot([p[0] for p in kept], [p[1] for p in kept], dashes, color=colour, linewidth=1.6, label=name)
        if training.best:
            axes.plot(*training.best, "o", color="#111111", markersize=6, label=f"Best epoch ({training.best[0]:.0f})")
        axes.set(xlabel="Epoch", ylabel="Loss (ELBO)")
        axes.legend(frameon=False, fontsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        return to_svg(figure, key, label=label)


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most 200 of the points, evenly spaced, the first and the last among them."""
    if len(points) <= MAX_POINTS:
        return list(points)
    return [points[round(i * (len(points) - 1) / (MAX_POINTS - 1))] for i in range(MAX_POINTS)]
