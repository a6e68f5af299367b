"""From the command line of ``fetch_dataset.py`` to what is fetched or listed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from scfm.errors import ScfmError
from scfm.fetch.discover import Discover, choose
from scfm.fetch.spec import Spec, cellxgene_spec, collection_spec, file_spec, url_spec
from scfm.io.tables import read_json


def wanted(args: argparse.Namespace, discover: Discover) -> Iterator[Spec]:
    """Yield what the command line asks for; ``discover`` is asked only where a collection must be searched.

    Raises
    ------
    ScfmError
        Options that do not go together, or a spec file that is none.
    """
    if args.version and len(args.cellxgene) != 1:
        raise ScfmError(f"--version is a version of one data set: give --cellxgene once; found {len(args.cellxgene)}.")
    if (args.size is not None or args.sha256) and bool(args.url) == bool(args.file):
        raise ScfmError("--size and --sha256 say what is expected of --url or of --file: give one of them.")
    if args.select and not args.collection:
        raise ScfmError("--select chooses a data set of a collection: give --collection.")
    if args.scenario or args.recipe:
        yield from of_recipes(args)
    for identifier in args.cellxgene:
        yield cellxgene_spec(identifier, collection_id=args.collection, version=args.version)
    if args.collection and not args.cellxgene:
        yield one_of(args, discover)
    if args.url:
        ending = Path(args.url.partition("?")[0]).suffix
        yield url_spec(args.url, ending=ending if ending == ".csv" else ".h5ad", size=args.size, sha256=args.sha256)
    if args.file:
        yield file_spec(args.file, size=args.size, sha256=args.sha256)
    for path in args.spec:
        if not path.is_file():
            raise ScfmError(f"--spec {path}: the file does not exist.")
        content = read_json(path)
        yield from (Spec.of(item) for item in (content if isinstance(content, list) else [content]))


def of_recipes(args: argparse.Namespace) -> Iterator[Spec]:
    """Yield the downloads of the scenarios and recipes asked for."""
    from scfm.recipes.downloads import recipe_specs
    from scfm.recipes.recipe import load_recipe
    from scfm.registries.datasets import find_scenario, load_catalogue
    from scfm.registries.reader import ASSETS

    catalogue = load_catalogue()
    paths = [ASSETS / find_scenario(name, catalogue).recipe for name in args.scenario] + args.recipe
    found = {spec.key: spec for path in paths for spec in recipe_specs(load_recipe(path))}
    yield from found.values()


def one_of(args: argparse.Namespace, discover: Discover) -> Spec:
    """Return the spec of the one data set of the collection that fits --select."""
    odd = [text for text in args.select if "=" not in text]
    if odd:
        raise ScfmError(f"--select {odd[0]}: expected KEY=VALUE, for instance disease=normal.")
    select = dict(text.split("=", 1) for text in args.select)
    collection_spec(args.collection, "chosen", select=select)  # complains about ids and keys before anything is asked
    return cellxgene_spec(
        choose(discover.collection(args.collection), select, args.collection).dataset_id, collection_id=args.collection
    )


def table_of(discover: Discover, collection_id: str) -> str:
    """Return the data sets of a collection as a tab-separated table with a header."""
    if not collection_id:
        raise ScfmError("--list shows the data sets of a collection: give --collection.")
    collection_spec(collection_id, "listed", select={})
    rows = [("dataset_id", "title", "cells", "organisms", "diseases", "size_mb", "version")]
    for found in sorted(discover.collection(collection_id), key=lambda found: found.title):
        rows.append(
            (
                found.dataset_id,
                " ".join(found.title.split()),
                "" if found.cell_count is None else str(found.cell_count),
                ", ".join(found.labels["organism"]),
                ", ".join(found.labels["disease"]),
                "" if found.size is None else f"{found.size / 1e6:.1f}",
                found.version_id,
            )
        )
    return "".join("\t".join(row) + "\n" for row in rows)
