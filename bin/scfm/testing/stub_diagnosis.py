"""Tiny outputs of the diagnosis, in the formats of ``docs/architecture.md``."""

from __future__ import annotations

from argparse import Namespace

from scfm.io.tables import read_json, write_json, write_table
from scfm.registries.schemas import Schemas
from scfm.task.steps import step


def stub_chosen(args: Namespace) -> None:
    """Every embedding that has scores."""
    names = sorted(path.name.split(".", 1)[1].removesuffix(".scores.tsv") for path in args.scores)
    content = {"dataset": args.dataset, "embeddings": names, "reasons": dict.fromkeys(names, "stub")}
    write_json(args.outdir / f"{args.dataset}.chosen.json", content | {"other_seeds": [], "warnings": []})


def stub_diagnosed(args: Namespace) -> None:
    """A row without a value in every table of the diagnosis."""
    import pandas as pd

    schemas = Schemas()
    for path in args.sidecars:
        fact = read_json(path)
        with step("diagnose", dataset=fact["dataset"], embedding=fact["embedding"], outdir=args.outdir):
            for table in (t.name for t in schemas.tables.values() if t.step == "diagnose"):
                row = {column: fact.get(column, _blank(rule)) for column, rule in schemas.rules(table).items()}
                row |= {"status": "ok"} if "status" in row else {}
                write_table(pd.DataFrame([row]), args.outdir / f"{fact['dataset']}.{fact['embedding']}.{table}.tsv")


def _blank(rule: dict) -> object:
    """Return a value that fits the rule of a column: NA where that is allowed."""
    if isinstance(rule["type"], list):
        return None
    return {"integer": 1, "number": 1.0, "boolean": False}.get(rule["type"], rule.get("enum", ["stub"])[0])
