"""What a recipe downloads: its sources and tables as specs of ``fetch_dataset.py``."""

from __future__ import annotations

from scfm.fetch.spec import Spec, cellxgene_spec, collection_spec, url_spec
from scfm.recipes.recipe import Recipe, Source, Table


def source_spec(source: Source) -> Spec | None:
    """Return what to download for a source; None for a file, and for the samplesheet row's own."""
    if source.url:
        return url_spec(source.url, size=source.size, sha256=source.sha256)
    if source.cellxgene:
        return cellxgene_spec(source.cellxgene, collection_id=source.collection, version=source.version)
    return (
        collection_spec(source.collection, source.name, select=source.select, version=source.version)
        if source.collection
        else None
    )


def table_spec(table: Table) -> Spec | None:
    """Return what to download for a table; None for a file."""
    return url_spec(table.url, ending=".csv") if table.url else None


def recipe_specs(recipe: Recipe) -> list[Spec]:
    """Return every download of a recipe, each once."""
    specs = [source_spec(source) for source in recipe.sources.values()] + [
        table_spec(table) for table in recipe.tables.values()
    ]
    return list({spec.key: spec for spec in specs if spec}.values())
