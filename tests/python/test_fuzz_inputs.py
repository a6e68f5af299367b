"""Inputs chosen by hypothesis: each kind ends in a success or a sentence. ``make fuzz`` looks longer and deeper."""

from __future__ import annotations

import json

import pytest
from fuzz import targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.filterwarnings("ignore")  # NumPy, anndata and zarr warn of what these files hold
FEW = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

#: words of the files, so that most examples get further than the first check
WORDS = [
    "dataset",
    "h5ad",
    "batch_key",
    "label_key",
    "d.h5ad",
    "batch",
    "cell_type",
    "d",
    ",",
    ";",
    "\n",
    '"',
    "=",
    "\t",
]
YAML = ["name", "sources", "a", "file", "keep", "column", "scgpt", "batch_size", ": ", "- ", "\n", "\n  ", "{", "}"]
YAML += ["[", "]", "&x ", "*x", "!!python/name:os.system ", "2024-13-45", "0x", "1e999", "'", "null", "? ", "<<: "]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def of_words(words: list[str]) -> st.SearchStrategy[bytes]:
    """Return texts of words and of anything else, and bytes that are no text."""
    part = st.sampled_from(words) | st.text(max_size=4)
    return st.lists(part, max_size=30).map(lambda parts: "".join(parts).encode("utf-8", "replace")) | st.binary(
        max_size=60
    )


@FEW
@given(of_words(WORDS))
def test_samplesheets(content: bytes) -> None:
    targets.samplesheet(content)


@FEW
@given(of_words(YAML))
def test_model_options(content: bytes) -> None:
    targets.model_options(content)


@FEW
@given(of_words(YAML))
def test_recipes(content: bytes) -> None:
    targets.recipe(content)


@FEW
@given(st.dictionaries(st.sampled_from(sorted(targets.SCHEMA_NAMES)), VALUES, max_size=4))
def test_parameters(values: dict) -> None:
    targets.params(json.dumps({"input": "sheet.csv", "outdir": "results"} | values).encode())


@FEW
@given(st.dictionaries(st.sampled_from(sorted(targets.SIDECAR)), VALUES, max_size=3), st.booleans())
def test_sidecars(values: dict, whole: bool) -> None:
    targets.sidecar(json.dumps((targets.SIDECAR if whole else {}) | values).encode())


@FEW
@given(st.data())
def test_structures_of_h5ad(data: st.DataObject) -> None:
    targets.h5ad_structure(lambda n: data.draw(st.integers(0, n - 1)))


@pytest.mark.parametrize("name", targets.BYTES)
def test_what_the_fuzzer_starts_from(name: str) -> None:
    target, seeds = targets.BYTES[name]
    assert len(seeds) > 0
    for content in seeds:
        target(content)
