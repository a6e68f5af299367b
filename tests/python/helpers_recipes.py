"""Recipes and small files for their tests."""

from __future__ import annotations

import textwrap
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scfm.errors import ScfmError
from scfm.recipes.build import build
from scfm.recipes.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
STAND_INS = ROOT / "tests" / "data" / "study"
RECIPES = ROOT / "assets" / "recipes"
#: scenario -> files of its sources, column of the label
SCENARIOS = {
    "limb": ({"human": "limb_human.h5ad", "mouse": "limb_mouse.h5ad"}, "cell_type"),
    "liver": ({"healthy": "liver.h5ad"}, "cell_type"),
    "Immune": ({"immune": "Immune.h5ad"}, "cell_type_level_2"),
    "HLCA_assay": ({"hlca": "hlca.h5ad"}, "final_annotation"),
    "HLCA_disease": ({"hlca": "hlca.h5ad"}, "final_annotation"),
    "HLCA_sn": ({"hlca": "hlca.h5ad"}, "final_annotation"),
}


def recipe_errors(path: Path | str) -> list[str]:
    """Return the sentences with which a recipe is refused; empty if it is right."""
    try:
        load_recipe(path)
    except ScfmError as error:
        return str(error).splitlines()
    return []


def write_recipe(folder: Path, text: str, name: str = "recipe.yml") -> Path:
    """Write a recipe; ``name: test`` is put in front."""
    path = folder / name
    path.write_text("name: test\n" + textwrap.dedent(text).lstrip("\n"))
    return path


def errors(folder: Path, text: str) -> list[str]:
    """Return the errors of a recipe."""
    return recipe_errors(write_recipe(folder, text))


def apply(folder: Path, text: str, **files: Path) -> tuple[dict, ad.AnnData]:
    """Apply a recipe to files (``orthologs`` is a table); return report and result."""
    recipe = load_recipe(write_recipe(folder, text))
    tables = {name: path for name, path in files.items() if name in recipe.tables}
    report = build(
        recipe, "out", {name: path for name, path in files.items() if name not in tables}, folder, tables=tables
    )
    return report, ad.read_h5ad(folder / "out.recipe.h5ad")


def cells(
    n: int = 12, n_genes: int = 8, *, prefix: str = "c", seed: int = 0, genes: list[str] | None = None, **columns
) -> ad.AnnData:
    """Return an object with counts in raw.X, logs in X, and obs columns as given (lists of n values)."""
    rng = np.random.default_rng(seed)
    counts = sparse.csr_matrix(rng.poisson(2.0, (n, n_genes)).astype(np.float32) + np.eye(n, n_genes, dtype=np.float32))
    genes = genes or [f"g{i}" for i in range(n_genes)]
    obs = pd.DataFrame({name: pd.Series(values) for name, values in columns.items()}, index=range(n))
    obs.index = [f"{prefix}{i}" for i in range(n)]
    var = pd.DataFrame({"feature_name": [f"S{g}" for g in genes]}, index=genes)
    data = ad.AnnData(counts.log1p(), obs=obs, var=var)
    data.raw = ad.AnnData(counts, var=var)
    return data


def write(data: ad.AnnData, path: Path) -> Path:
    """Write an object; text columns stay text."""
    data.write_h5ad(path, convert_strings_to_categoricals=False)
    return path


def dense(data: ad.AnnData) -> np.ndarray:
    """Return X as an array."""
    return np.asarray(data.X.todense())
