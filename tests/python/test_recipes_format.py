"""The format of recipes: the schema holds, every error is a sentence with its place, and all of them come at once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from helpers_data import assert_says
from helpers_recipes import RECIPES, ROOT, SCENARIOS, errors, recipe_errors, write_recipe
from scfm.errors import ScfmError
from scfm.recipes.recipe import Filter, load_recipe
from scfm.recipes.schema import recipe_schema
from scfm.registries.datasets import load_catalogue

ID, OTHER = "9f222629-9e39-47d0-b83f-e08d610c7479", "6f6d381a-7701-4781-935c-db10d30de293"
TABLE = """
tables:
  pairs:
    file: pairs.csv
    columns: {a: A, b: B}
"""


def test_the_schema_is_a_schema_and_describes_every_key() -> None:
    schema = recipe_schema()
    Draft202012Validator.check_schema(schema)
    assert json.loads((ROOT / "assets" / "schema_recipe.json").read_text()) == schema

    def lacking(node: object, place: str) -> list[str]:
        if not isinstance(node, dict):
            return []
        found = [] if "description" in node or "$ref" in node else [place]
        for key in ("properties", "$defs"):
            found += [f for name, sub in node.get(key, {}).items() for f in lacking(sub, f"{place}/{name}")]
        return found

    assert lacking(schema, "") == []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_studys_recipes_are_right_and_agree_with_the_catalogue(scenario: str) -> None:
    path = RECIPES / f"{scenario}.yml"
    assert recipe_errors(path) == []
    recipe, known = load_recipe(path), load_catalogue()[scenario]
    assert recipe.name == scenario
    assert known.recipe == f"recipes/{scenario}.yml"
    assert {s.collection for s in recipe.sources.values()} == {known.collection_id}
    assert {s.cellxgene for s in recipe.sources.values() if s.cellxgene} == set(known.dataset_ids)
    assert not any(s.is_own_file for s in recipe.sources.values())
    assert recipe.prefix == "cell_"


def test_the_label_maps_of_the_study_have_their_sizes() -> None:
    immune = load_recipe(RECIPES / "Immune.yml").labels
    assert immune and len(immune.rules) == 1
    assert (len(immune.rules[0].labels), len(set(immune.rules[0].labels.values()))) == (31, 11)
    lung = load_recipe(RECIPES / "HLCA_sn.yml").labels
    assert lung and [(r.column, len(r.labels)) for r in lung.rules] == [
        ("ann_level_3", 5),
        ("ann_level_2", 4),
        ("ann_level_3", 7),
    ]
    assert all(value == label for rule in lung.rules for value, label in rule.labels.items())


def test_a_recipe_is_read_as_it_is_written(tmp_path: Path) -> None:
    recipe = load_recipe(
        write_recipe(
            tmp_path,
            f"""
        description: >
          two
          lines
        sources:
          own:
          mine:
            cellxgene: {ID}
            version: {OTHER}
            counts: spliced
            keep: [{{column: age, in: [5, 6.0, yes]}}, {{column: x, missing: false}}]
          other:
            {{collection: {ID}, select: {{disease: [normal]}}, rename: {{a: b}}, set: {{c: 1}}, paste: {{d: [a, c]}}}}
        genes: union
        drop_columns: [leiden]
        """,
        )
    )
    own, mine, other = recipe.sources.values()
    assert own.is_own_file and not mine.is_own_file
    assert mine.keep == (Filter("age", "in", ("5", "6", "True")), Filter("x", "missing"))
    assert [f.rule for f in mine.keep] == ["age is one of 5, 6, True", "x is not missing"]
    assert (mine.cellxgene, mine.version, mine.counts) == (ID, OTHER, "spliced")
    assert (other.select, other.rename, other.set, other.paste) == (
        {"disease": ["normal"]},
        {"a": "b"},
        {"c": 1},
        {"d": ("a", "c")},
    )
    assert (recipe.genes, recipe.description, recipe.prefix, recipe.drop_columns) == (
        "union",
        "two lines",
        "",
        ("leiden",),
    )


def test_all_errors_come_at_once_with_line_and_place(tmp_path: Path) -> None:
    found = errors(
        tmp_path,
        """
        sources:
          one:
            file: a.h5ad
            keep:
              - {column: disease, equal: normal}
              - {column: study}
              - {column: age, in: []}
            filters: []
        genes: intersect
        labels: {column: x}
        colour: red
        """,
    )
    assert_says(found, "recipe.yml: line 6, sources.one.keep[0].equal", "unknown key 'equal'", "Did you mean 'equals'?")
    assert_says(found, "line 7, sources.one.keep[1]", "exactly one of equals, not_equals, in, not_in, missing")
    assert_says(found, "line 8, sources.one.keep[2].in", "nothing", "A list of values")
    assert_says(found, "line 9, sources.one.filters", "unknown key 'filters'")
    assert_says(
        found,
        "line 10, genes",
        "'intersect' is not allowed; one of 'intersection', 'union'",
        "Did you mean 'intersection'?",
    )
    assert_says(found, "line 11, labels", "'rules' is missing")
    assert_says(found, "line 12, colour", "unknown key 'colour'", "Known: name, description, sources")
    assert len(found) == 7
    with pytest.raises(ScfmError) as error:
        load_recipe(tmp_path / "recipe.yml")
    assert str(error.value).split("\n") == found


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sources: {}", ["sources", "nothing is not allowed"]),
        ("sources: [a]", ["sources", "expected keys with values, found a list (1)"]),
        ("genes: union", ["the key 'sources' is missing"]),
        ("sources: {1a: {file: x}}", ["sources.1a", "'1a' can't be a name"]),
        ("sources: {a: {cellxgene: 12}}", ["sources.a.cellxgene", "expected text, found 12", "quotes"]),
        ("sources: {a: {cellxgene: abc}}", ["sources.a.cellxgene", "'abc' is not allowed here", "CELLxGENE Discover"]),
        ("sources: {a: {url: www.x.org}}", ["sources.a.url", "starts with https://"]),
        ("sources: {a: {url: https://x.org/a, sha256: abc}}", ["sources.a.sha256", "'abc' is not allowed", "Checksum"]),
        (
            "sources: {a: {file: x, set: {day: 2024-01-01}}}",
            ["sources.a.set.day", "expected text or a number or true or false", "quotes"],
        ),
        ("sources: {a: {file: x, set: {no: x}}}", ["the key False is read as bool", "put it in quotes"]),
        (
            "sources: {a: {file: x, keep: [{column: a, missing: never}]}}",
            ["keep[0].missing", "expected true or false, found 'never'"],
        ),
        ("sources: {a: {file: x, keep: [{column: a, equals: b, in: [c]}]}}", ["keep[0]", "exactly one of"]),
        ("sources: {a: {file: x, keep: [{column: a, in: [b, b]}]}}", ["keep[0].in", "each once"]),
        ("sources: {a: {file: x}}\ncell_ids: {}", ["cell_ids", "'prefix' is missing"]),
        (
            "sources: {a: {file: x}}\nlabels: {column: x, rules: [{from: a, keep: [b], map: {c: [d]}}]}",
            ["labels.rules[0]", "exactly one of keep, map"],
        ),
        (
            "sources: {a: {file: x}}\nlabels: {column: x, rules: [{from: a, map: {c: d}}]}",
            ["rules[0].map.c", "expected a list, found 'd'"],
        ),
        # what a schema can't say
        (f"sources: {{a: {{file: x, cellxgene: {ID}}}}}", ["sources.a", "'cellxgene', 'file' are given; exactly one"]),
        (
            f"sources: {{a: {{file: x, collection: {ID}}}}}",
            ["sources.a", "'collection' belongs with cellxgene or select"],
        ),
        (f"sources: {{a: {{collection: {ID}}}}}", ["sources.a", "a collection can hold several data sets"]),
        ("sources: {a: {select: {organism: x}}}", ["sources.a", "'select' chooses a data set of a collection"]),
        (f"sources: {{a: {{file: x, version: {ID}}}}}", ["sources.a", "'version' is of a data set"]),
        ("sources: {a: {file: x, size: 12}}", ["sources.a", "'size' is checked for a file behind a url only"]),
        ("sources: {a: , b: {counts: raw}}", ["sources 'a', 'b' name no file"]),
        ("sources: {a: {file: x, paste: {b: [b, c]}}}", ["sources.a.paste.b", "pasted from itself"]),
        ("sources: {a: {file: x, rename: {b: d, c: d}}}", ["sources.a.rename", "2 columns get the name 'd'"]),
        (
            f"sources: {{a: {{file: x, genes: {{table: pair, from: a, to: b}}}}}}{TABLE}",
            ["genes.table", "no table 'pair'", "Did you mean 'pairs'?"],
        ),
        (
            f"sources: {{a: {{file: x, genes: {{table: pairs, from: a, to: c}}}}}}{TABLE}",
            ["genes.to", "no column 'c'", "Columns: 'a', 'b'"],
        ),
        (f"sources: {{a: {{file: x}}}}{TABLE}    first_per: aa\n", ["tables.pairs.first_per", "'aa' is none of"]),
        (f"sources: {{a: {{file: x}}}}{TABLE}    required: [a, d]\n", ["tables.pairs.required[1]", "'d' is none of"]),
        (
            f"sources: {{a: {{file: x}}}}{TABLE}    url: https://x.org/t\n",
            ["tables.pairs", "exactly one of 'url' and 'file'"],
        ),
        (
            "sources: {a: {file: x}}\nlabels: {column: x, rules: [{from: a, map: {c: [v], d: [w, v]}}]}",
            ["rules[0].map.d", "'v' is under 'c' already"],
        ),
    ],
)
def test_every_error_is_one_sentence_that_names_the_place(tmp_path: Path, text: str, parts: list[str]) -> None:
    found = errors(tmp_path, text)
    assert len(found) == 1, found
    assert_says(found, "recipe.yml: line ", *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sources: {a: {file: x}}\nsources: {b: {file: y}}", ["line 3, sources", "is a duplicate (first in line 2)"]),
        ("sources:\n  a:\n    file: x\n    file: y", ["line 5, sources.a.file", "is a duplicate"]),
        ("sources: {a: &b {file: x}, c: *b}", ["line 2", "aliases"]),
        ("sources: {a: [}", ["line 2", "not valid YAML"]),
        (
            "sources: !!python/object/apply:os.system [ls]",
            ["line 2", "not valid YAML", "could not determine a constructor"],
        ),
    ],
)
def test_yaml_that_would_be_misread_is_refused(tmp_path: Path, text: str, parts: list[str]) -> None:
    assert_says(errors(tmp_path, text), *parts)


def test_empty_missing_and_binary_files_are_sentences(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty.yml", tmp_path / "binary.yml"
    empty.write_text("# nothing\n")
    binary.write_bytes(b"\xff\xfe\x00")
    assert_says(recipe_errors(empty), "the recipe is empty")
    assert_says(recipe_errors(binary), "not text in UTF-8")
    assert_says(recipe_errors(tmp_path / "absent.yml"), "does not exist")
    (tmp_path / "list.yml").write_text("- a\n")
    assert_says(recipe_errors(tmp_path / "list.yml"), "expected keys with values, found a list")


def test_the_examples_of_the_docs_are_right_and_every_key_is_explained(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "recipes.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.yml"
        path.write_text(example)
        assert recipe_errors(path) == []
    schema = recipe_schema()
    parts = [schema, *(schema["$defs"][name] for name in ("source", "filter", "labels", "rule", "table"))]
    keys = {key for part in parts for key in part["properties"]} | set(
        schema["$defs"]["source"]["properties"]["select"]["properties"]
    )
    assert {key for key in keys if f"`{key}`" not in text and f"`{key}:" not in text} <= {
        "column",
        "from",
        "to",
        "table",
    }
