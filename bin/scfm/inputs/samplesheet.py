"""Read and check the samplesheet, and the embeddings it brings along."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.text import did_you_mean, listing, split_list

#: endings of embedding tables; their content is checked at the validation gate
TABLE_ENDINGS = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".npz")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]*$")


@dataclass(frozen=True, slots=True)
class Located:
    """Where the files of the samplesheet lie.

    Attributes
    ----------
    staged
        Path text of the samplesheet to local path; None means the paths are taken as they are.
    base
        Folder that relative paths are taken from when nothing is staged.
    """

    staged: Mapping[str, str] | None = None
    base: Path = field(default_factory=Path)

    def find(self, text: str) -> Path | None:
        """Return the local path of a file or folder, None where it does not exist."""
        if self.staged is not None:
            place = self.staged.get(text) or self.staged.get(text.rstrip("/"))
            path = Path(place) if place else None
        else:
            path = Path(text) if Path(text).is_absolute() else self.base / text
        return path if path is not None and path.exists() else None

    @staticmethod
    def not_found(where: str, column: str, text: str) -> str:
        """Return the sentence about a file of the samplesheet that does not exist."""
        return (
            f"{where}, column '{column}': the file '{text}' does not exist. "
            "Relative paths are taken from where the samplesheet lies."
        )


def read_samplesheet(path: Path | str) -> list[dict[str, str]]:
    """Read the CSV; values and column names without the blanks around them, empty values left out.

    The pipeline reads the same rows (``readSamplesheet`` in ``subworkflows/local/utils_scfmbench``); a test compares
    them.

    Raises
    ------
    ScfmError
        The file is missing, empty, not text, or has lines of another length than the header.
    """
    path = Path(path)
    if not path.is_file():
        raise ScfmError(f"Parameter --input: the samplesheet '{path}' does not exist.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            lines = [line for line in csv.reader(handle, skipinitialspace=True) if any(cell.strip() for cell in line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ScfmError(f"{path.name}: not a readable CSV file in UTF-8 ({error}).") from error
    if len(lines) < 2:
        raise ScfmError(f"{path.name}: the samplesheet is empty; expected a header and at least one row.")
    header = [cell.strip() for cell in lines[0]]
    for mark, word in (("\t", "tabs"), (";", "semicolons")):
        if len(header) == 1 and mark in header[0]:
            raise ScfmError(
                f"{path.name}: the header has {word} and no commas. Save the samplesheet as CSV, with a comma between"
                " columns."
            )
    twice = sorted({c for c in header if header.count(c) > 1})
    if twice:
        raise ScfmError(f"{path.name}: the column {listing(twice)} occurs more than once in the header.")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            raise ScfmError(
                f"{path.name}: row {number} has {len(line)} values, the header has {len(header)} columns. "
                "Values with commas need quotes."
            )
    return [{c: v.strip() for c, v in zip(header, line, strict=True) if v.strip()} for line in lines[1:]]


def write_samplesheet(path: Path | str, rows: Sequence[Mapping[str, str]]) -> None:
    """Write rows as a samplesheet; its columns are those of any row, in the order of their first appearance."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with Path(path).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def check_rows(rows: Sequence[Mapping[str, str]], schema: Mapping[str, Any], name: str) -> list[str]:
    """Return a sentence per error of the samplesheet itself.

    Parameters
    ----------
    rows
        From :func:`read_samplesheet`.
    schema
        ``assets/schema_input.json``.
    name
        How messages call the file.
    """
    from jsonschema import Draft202012Validator

    specs: dict[str, dict] = schema["items"]["properties"]
    required = schema["items"]["required"]
    given = list(dict.fromkeys(c for row in rows for c in row))
    errors = [
        f"{name}: there is no column '{c}', or it is empty in every"
        f" row.{_nearest(c, [g for g in given if g not in specs])} Required: {', '.join(required)}."
        for c in required
        if c not in given
    ]
    errors += [
        f"{name}: unknown column '{c}'.{did_you_mean(c, specs)} Known: {', '.join(specs)}."
        for c in given
        if c not in specs
    ]
    for number, row in enumerate(rows, start=2):
        errors += [f"{name}: row {number}: no value in column '{c}'." for c in required if c in given and c not in row]
        for column, value in row.items():
            spec = specs.get(column, {})
            if any(Draft202012Validator(spec).iter_errors(value)):
                hint = did_you_mean(value, spec["enum"]) if "enum" in spec else ""
                errors.append(
                    f"{name}: row {number}, column '{column}': '{value}' is not allowed; "
                    f"{spec.get('errorMessage', spec['description'])}.{hint}"
                )
    names = [row["dataset"] for row in rows if "dataset" in row]
    twice = sorted({n for n in names if names.count(n) > 1})
    errors += [f"{name}: the dataset name '{n}' is in {names.count(n)} rows; names must be unique." for n in twice]
    errors += [
        f"{name}: the dataset names {listing(alike)} differ only in case; where a file system ignores case, their files"
        " would overwrite each other. Rename all but one."
        for alike in _only_in_case(names)
    ]
    return errors


def _only_in_case(names: Sequence[str]) -> list[list[str]]:
    """Return groups of different names that are the same in a file system that ignores case."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(name.casefold(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _same_but_for_case(name: str, others: Iterable[str]) -> str | None:
    """Return the first of other names that is the same in a file system that ignores case."""
    return next((other for other in others if other.casefold() == name.casefold()), None)


def _nearest(column: str, others: Sequence[str]) -> str:
    """Return a hint that an unknown column may be the missing one."""
    hint = did_you_mean(column, others)
    return hint.replace("Did you mean", "Is it").replace("?", ", which is there?") if hint else ""


def _of_folder(text: str, folder: Path) -> dict[str, str]:
    """Return name and path text of every embedding table in a folder."""
    found = {}
    for path in sorted(folder.iterdir()):
        ending = next((e for e in sorted(TABLE_ENDINGS, key=len, reverse=True) if path.name.endswith(e)), None)
        if ending:
            found[path.name.removesuffix(ending)] = f"{text.rstrip('/')}/{path.name}"
    return found


def embedding_parts(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return name (empty where none is given) and place of every part of the column ``embeddings``."""
    parts = [part.partition("=") for part in split_list(row.get("embeddings"), ";")]
    return [(label.strip(), place.strip()) if equals else ("", label.strip()) for label, equals, place in parts]


def resolve_embeddings(
    row: Mapping[str, str], located: Located, taken: Sequence[str], name: str
) -> tuple[dict[str, str], list[str]]:
    """Resolve the column ``embeddings`` of one row.

    Parameters
    ----------
    row
        Row of the samplesheet.
    located
        Where files lie.
    taken
        Names of methods and controls, which an embedding can't bear.
    name
        How messages call the row.

    Returns
    -------
    Embedding name to path text, or to ``obsm:<key>`` for a key of the h5ad; sentences about errors.
    """
    found: dict[str, str] = {}
    errors: list[str] = []
    for label, place in embedding_parts(row):
        if not place.startswith("obsm:") and located.find(place) is None:
            errors.append(
                f"{name}, column 'embeddings': '{place}' does not exist; expected name=path, a folder of tables, "
                "or obsm:KEY, separated by ';'."
            )
            continue
        entries = _entries(label, place, located)
        if not entries:
            errors.append(
                f"{name}, column 'embeddings': no table in the folder '{place}'; "
                f"expected files ending in {', '.join(TABLE_ENDINGS)}."
            )
        for key, target in entries.items():
            errors += _name_errors(key, target, [*taken], found, name)
            found.setdefault(key, target)
    return found, errors


def _entries(label: str, place: str, located: Located) -> dict[str, str]:
    """Return the embeddings that one part of the column stands for."""
    if place.startswith("obsm:"):
        return {label or place.removeprefix("obsm:").removeprefix("X_"): place}
    path = located.find(place)
    if path is not None and path.is_dir() and not label:
        return _of_folder(place, path)
    stem = place.rstrip("/").rsplit("/", 1)[-1]
    ending = next((e for e in sorted(TABLE_ENDINGS, key=len, reverse=True) if stem.endswith(e)), "")
    return {label or stem.removesuffix(ending): place}


def _name_errors(key: str, target: str, taken: Sequence[str], found: Mapping[str, str], name: str) -> list[str]:
    """Return sentences about the name and kind of one embedding."""
    errors, where = [], f"{name}, column 'embeddings'"
    if not _NAME.fullmatch(key):
        errors.append(
            f"{where}: '{key}' can't be the name of an embedding; use letters, digits, '_' and '-', "
            f"as in name={target}."
        )
    same = _same_but_for_case(key, taken)
    if same is not None:
        case = "" if same == key else f", '{same}' but for case"
        errors.append(
            f"{where}: '{key}' is the name of a method{case}; give the embedding another name, as in my_{key}={target}."
        )
    same = _same_but_for_case(key, found)
    if same is not None:
        case = "" if same == key else f" of '{same}' but for case"
        errors.append(f"{where}: the name '{key}' is a duplicate{case}; names must be unique.")
    if not target.startswith("obsm:") and not target.endswith(TABLE_ENDINGS):
        errors.append(
            f"{where}: '{target}' is of no known kind; expected a file ending in {', '.join(TABLE_ENDINGS)}, "
            "or obsm:KEY."
        )
    return errors
