"""Names for people: titles from the registry, in one order everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

CONTROL_MARK = " (control)"
#: behind the title of a model that ran with a made-up checkpoint
MADE_UP_MARK = " [random weights: not a real result]"


@dataclass(frozen=True)
class Names:
    """Titles of methods and metrics.

    Attributes
    ----------
    methods, metrics
        ``{name: title}``; a name that is not in them (an imported embedding) is its own title.
    controls
        Names of the methods that are controls.
    made_up
        Names of the models whose weights are made up (``bin/make_tiny_weights.py``).
    """

    methods: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    controls: frozenset[str] = frozenset()
    made_up: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, methods: "pd.DataFrame", metrics: "pd.DataFrame", plan: "pd.DataFrame", made_up: Iterable[str] = ()
    ) -> "Names":
        """Take the titles from the tables; two methods with one title keep their names."""
        titles = {r.name: r.title or r.name for r in methods[["name", "title"]].itertuples(index=False, name="Row")}
        planned = [titles.get(m, m) for m in plan["method"].unique()]
        clashing = {t for t in planned if planned.count(t) > 1}
        return cls(
            methods={n: n if t in clashing else t for n, t in titles.items()},
            metrics=dict(zip(metrics["name"], metrics["title"], strict=True)),
            controls=frozenset(plan.loc[plan["is_control"], "method"]),
            made_up=frozenset(made_up),
        )

    def metric(self, name: str) -> str:
        """Return the title of a metric."""
        return self.metrics.get(name, name)

    def method(self, name: str, correction: str = "raw") -> str:
        """Return the title of a method with its correction: ``Harmony + center_l2``; controls are marked."""
        title = self.methods.get(name, name)
        mark = CONTROL_MARK if name in self.controls else MADE_UP_MARK if name in self.made_up else ""
        return f"{title}{mark}" if correction == "raw" else f"{title}{mark} + {correction}"

    def embedding(self, name: str, correction: str, seed: int, *, seeds: int = 1) -> str:
        """Return the title of one embedding; the seed is told where there are several."""
        return self.method(name, correction) + (f", seed {seed}" if seeds > 1 else "")


def read_methods(path: Path | str) -> "pd.DataFrame":
    """Read ``name, title, reference`` of the methods table, and of ``models.tsv`` in the same folder if it is there.

    Every model has a twin with random weights. Their own loaders check the tables at the start of a run.
    """
    import pandas as pd

    tables = [t for t in (Path(path), Path(path).parent / "models.tsv") if t.is_file()]
    frames = [
        pd.read_csv(t, sep="\t", dtype=str, keep_default_na=False, quoting=3).reindex(
            columns=["name", "title", "reference"], fill_value=""
        )
        for t in tables
    ]
    twins = [f.assign(name=f["name"] + "_random", title=f["title"] + " (random weights)") for f in frames[1:]]
    return pd.concat([*frames, *twins], ignore_index=True)
