"""Names for people: titles from the registry, in one order everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.registries.corrections import load_corrections
from scfm.registries.instances import title_of

if TYPE_CHECKING:
    import pandas as pd

CONTROL_MARK = " (control)"
#: behind the title of what was given the labels it is scored by
LABELS_MARK = " [reads the labels]"
#: behind the title of a model that ran with randomly initialised weights
RANDOM_MARK = " [random weights]"


@dataclass(frozen=True)
class Names:
    """Titles of methods and metrics.

    Attributes
    ----------
    methods, metrics
        ``{name: title}``; a name that is not in them (an imported embedding) is its own title.
    controls
        Names of the methods that are controls.
    label_readers
        Names of the methods, controls left out, and of the corrections that read the labels.
    holding_out
        Those of them that are not given the labels of the held-out cells.
    random_weights
        Names of the models whose weights are randomly initialised (``bin/make_tiny_weights.py``).
    """

    methods: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    controls: frozenset[str] = frozenset()
    random_weights: frozenset[str] = frozenset()
    label_readers: frozenset[str] = frozenset()
    holding_out: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, methods: "pd.DataFrame", metrics: "pd.DataFrame", plan: "pd.DataFrame", random_weights: Iterable[str] = ()
    ) -> "Names":
        """Take the titles from the tables; two methods with one title keep their names."""
        titles = {r.name: r.title or r.name for r in methods[["name", "title"]].itertuples(index=False, name="Row")}
        readers = set(methods.loc[methods["needs_labels"] == "true", "name"]) if "needs_labels" in methods else set()
        holding = set(methods.loc[methods["holds_out"] == "true", "name"]) if "holds_out" in methods else set()
        corrections = {name for name, row in load_corrections().items() if row.needs_labels}
        controls = frozenset(plan.loc[plan["is_control"], "method"])
        planned = [titles.get(m, m) for m in plan["method"].unique()]
        clashing = {t for t in planned if planned.count(t) > 1}
        return cls(
            methods={n: n if t in clashing else t for n, t in titles.items()},
            metrics=dict(zip(metrics["name"], metrics["title"], strict=True)),
            controls=controls,
            random_weights=frozenset(random_weights),
            label_readers=frozenset((readers - controls) | corrections),
            holding_out=frozenset(holding),
        )

    def metric(self, name: str) -> str:
        """Return the title of a metric."""
        return self.metrics.get(name, name)

    def method(self, name: str, correction: str = "raw") -> str:
        """Return the title of a method with its correction: ``Harmony + center_l2``; controls are marked."""
        title = self.methods.get(name, name)
        mark = CONTROL_MARK if name in self.controls else RANDOM_MARK if name in self.random_weights else ""
        end = LABELS_MARK if self.reads_labels(name, correction) else ""
        return f"{title}{mark}{end}" if correction == "raw" else f"{title}{mark} + {correction}{end}"

    def reads_labels(self, name: str, correction: str = "raw") -> bool:
        """Tell whether a method or its correction was given the labels: label metrics of the result are circular."""
        return name in self.label_readers or correction in self.label_readers

    def with_held_out_labels(self) -> "Names":
        """Return the names for scores on held-out cells: methods that were not given these labels read none there."""
        return replace(self, label_readers=self.label_readers - self.holding_out)

    def embedding(self, name: str, correction: str, seed: int, *, seeds: int = 1) -> str:
        """Return the title of one embedding; the seed is named where there are several."""
        return self.method(name, correction) + (f", seed {seed}" if seeds > 1 else "")


def read_methods(path: Path | str, plan: "pd.DataFrame | None" = None) -> "pd.DataFrame":
    """Read the methods table, and ``models.tsv`` in the same folder if it is there.

    Columns ``name, title, reference, needs_labels, holds_out`` (text, empty for models). Every model has a twin with
    random weights, and every configured instance of the plan has the row of its method under its own name and title.
    The tables' own loaders check them at the start of a run.
    """
    import pandas as pd

    tables = [t for t in (Path(path), Path(path).parent / "models.tsv") if t.is_file()]
    frames = [
        pd.read_csv(t, sep="\t", dtype=str, keep_default_na=False, quoting=3).reindex(
            columns=["name", "title", "reference", "needs_labels", "holds_out"], fill_value=""
        )
        for t in tables
    ]
    twins = [f.assign(name=f["name"] + "_random", title=f["title"] + " (random weights)") for f in frames[1:]]
    table = pd.concat([*frames, *twins], ignore_index=True)
    return table if plan is None else pd.concat([table, _instances(table, plan)], ignore_index=True)


def _instances(methods: "pd.DataFrame", plan: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows of the configured instances of a plan."""
    rows = plan[plan["instance"] != ""].drop_duplicates("method")[["method", "base_method", "instance", "settings"]]
    table = methods.merge(rows, left_on="name", right_on="base_method")
    table["title"] = [
        title_of(r.title, r.base_method, r.instance, json.loads(r.settings))
        for r in table[["title", "base_method", "instance", "settings"]].itertuples(index=False, name="Row")
    ]
    return table.assign(name=table["method"])[list(methods.columns)]
