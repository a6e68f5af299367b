"""Pictures: which UMAPs are shown where, small enough for a report that can be mailed."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.report.page.mqc import Section
from scfm.report.page.templates import render
from scfm.text import plural

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

#: all pictures of a report together, in bytes before base64: the page stays below 5 MB
PICTURE_BUDGET = 500_000
#: of these, the cards of all methods and the two sections of the appendix have their shares, without and
#: with pictures by further keys
_SHARES = {False: {"cards": 0.5, "corrected": 0.5}, True: {"cards": 0.45, "corrected": 0.3, "keys": 0.25}}
_WIDTHS = (860, 720, 600, 500, 420)
#: pictures of every embedding: ending of the file -> what it is coloured by
KEYS = {"batch": "batch", "label": "label"}
#: pictures of embeddings of data sets that have these keys
MORE = {
    "by_condition": "label, one panel per condition",
    "condition": "condition",
    "tissue": "tissue",
    "donor": "donor",
}
CAUTION = (
    "A UMAP is a picture, not evidence: distances between groups and their sizes mean little, and two embeddings with"
    " the same scores can look different. Use it to find what to look at, and the metrics to judge it."
)


@dataclass(frozen=True)
class Picture:
    """One UMAP of an embedding, and what it is coloured by."""

    path: Path
    title: str
    by: str


@dataclass(frozen=True)
class Drawn:
    """A picture as the page shows it: its title and its data as an address of the kind ``data:``."""

    title: str
    src: str


def pictures_of(data: "ReportData", dataset: str, keys: Mapping[str, str] = KEYS) -> dict[str, list[Picture]]:
    """Return ``{embedding: pictures}`` of a data set, embeddings in the order of the plan.

    Parameters
    ----------
    data, dataset
        The run and the data set.
    keys
        Endings of the files with what they are coloured by; batch and label by default.
    """
    planned = data.plan[data.plan["dataset"] == dataset]
    seeds = planned.groupby(["method", "correction"])["seed"].nunique()
    by_name = {path.name: path for path in data.plots}
    found = {}
    for row in planned.itertuples():
        title = data.names.embedding(row.method, row.correction, row.seed, seeds=seeds[row.method, row.correction])
        own = [
            Picture(by_name[name], title, words)
            for key, words in keys.items()
            if (name := f"{dataset}.{row.embedding}.umap_{key}.png") in by_name
        ]
        if own:
            found[row.embedding] = own
    return found


def card_embeddings(data: "ReportData", dataset: str) -> dict[str, str]:
    """Return ``{method: embedding whose UMAPs its card shows}``: the raw one of the first seed; controls have none."""
    planned = data.plan[(data.plan["dataset"] == dataset) & ~data.plan["is_control"]]
    first = planned[planned["correction"] == "raw"].sort_values("seed", kind="stable").drop_duplicates("method")
    return dict(zip(first["method"], first["embedding"], strict=True))


def card_pictures(data: "ReportData", dataset: str) -> dict[str, list[Drawn]]:
    """Return ``{method: its UMAPs by batch and by label}`` for the method cards."""
    known = pictures_of(data, dataset)
    chosen = {m: known[e] for m, e in card_embeddings(data, dataset).items() if e in known}
    drawn = draw([p for pictures in chosen.values() for p in pictures], _budget(data, "cards"))
    return {m: [drawn[p] for p in pictures if p in drawn] for m, pictures in chosen.items()}


def umap_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the UMAPs that no method card shows: corrected embeddings and controls, then those of other seeds, folded.

    Pictures that do not fit the size of the page are left out and counted; all of them are published.
    """
    known = pictures_of(data, dataset)
    shown = set(card_embeddings(data, dataset).values())
    planned = data.plan[(data.plan["dataset"] == dataset) & ~data.plan["embedding"].isin(shown)]
    planned = planned[planned["embedding"].isin(list(known))].sort_values(["is_control", "method"], kind="stable")
    if planned.empty:
        return []
    first = data.plan[data.plan["dataset"] == dataset].groupby(["method", "correction"])["seed"].min()
    is_first = [
        first[m, c] == s for m, c, s in zip(planned["method"], planned["correction"], planned["seed"], strict=True)
    ]
    groups = [
        [p for e, of_first in zip(planned["embedding"], is_first, strict=True) if of_first == wanted for p in known[e]]
        for wanted in (True, False)
    ]
    drawn = draw([p for group in groups for p in group], _budget(data, "corrected"))
    left = _left_out(sum(len(g) for g in groups) - len(drawn))
    content = render(
        "umaps.html.j2",
        figures=[drawn[p] for p in groups[0] if p in drawn],
        seeds=[drawn[p] for p in groups[1] if p in drawn],
    )
    return [
        Section(
            "umaps",
            "UMAPs of corrected embeddings and controls",
            "html",
            content,
            description=f"{CAUTION} Those of the methods themselves are in their cards.{left}",
        )
    ]


def key_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the UMAPs of the methods by condition, tissue and donor, panels first; nothing where none is declared."""
    known = pictures_of(data, dataset, MORE)
    chosen = [known[name] for name in card_embeddings(data, dataset).values() if name in known]
    pictures = [p for words in MORE.values() for own in chosen for p in own if p.by == words]
    if not pictures:
        return []
    drawn = draw(pictures, _budget(data, "keys"))
    left = _left_out(len(pictures) - len(drawn))
    content = render("umaps.html.j2", figures=list(drawn.values()), seeds=[])
    title = "UMAPs by condition, tissue and donor"
    return [Section("umaps_by_key", title, "html", content, description=f"{CAUTION}{left}")]


def _left_out(n_missing: int) -> str:
    """Return the sentence about pictures that are not on the page; empty where all are."""
    if not n_missing:
        return ""
    return f" {plural(n_missing, 'picture')} did not fit; all are in <code>plots/</code> of the data set."


def _budget(data: "ReportData", part: str) -> int:
    """Return the bytes that one data set may take in a part of the page."""
    by_keys = any(path.stem.endswith(tuple(f".umap_{key}" for key in MORE)) for path in data.plots)
    return int(PICTURE_BUDGET * _SHARES[by_keys][part]) // max(1, len(data.dataset_names()))


def draw(pictures: Sequence[Picture], budget: int) -> dict[Picture, Drawn]:
    """Return pictures for the page, all of one width; those that do not fit at the smallest are left out.

    Parameters
    ----------
    pictures
        The most important ones first.
    budget
        Bytes of all of them, before base64.
    """
    encoded = shrink([p.path for p in pictures], budget)
    return {
        p: Drawn(f"{p.title}, by {p.by}", f"data:image/webp;base64,{base64.b64encode(data).decode()}")
        for p, data in zip(pictures, encoded, strict=False)
    }


def shrink(paths: Sequence[Path], budget: int) -> list[bytes]:
    """Return pictures as WebP, all at the largest width whose bytes fit the budget together; at the smallest width, the
    first ones that fit.

    Raises
    ------
    ScfmError
        A file is no picture.
    """
    from PIL import Image, UnidentifiedImageError

    pictures = []
    for path in paths:
        try:
            with Image.open(path) as picture:
                pictures.append(picture.convert("RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise ScfmError(f"{path} is not a picture that can be read: {error}.") from error
    encoded: list[bytes] = []
    fitting: list[bytes] | None = None
    first, last = 0, len(_WIDTHS)  # the largest width that fits is one of these, or none is: bytes grow with the width
    while first < last:
        middle = (first + last) // 2
        encoded = _encode_all(pictures, _WIDTHS[middle], budget)
        if len(encoded) == len(pictures):
            fitting, last = encoded, middle
        else:
            first = middle + 1
    return encoded if fitting is None else fitting


def _encode_all(pictures: Sequence[Any], width: int, budget: int) -> list[bytes]:
    """Return the first pictures that fit the budget together at a width; encoding takes most of the report's time."""
    encoded: list[bytes] = []
    for picture in pictures:
        data = _encode(picture, width)
        budget -= len(data)
        if budget < 0:
            break
        encoded.append(data)
    return encoded


def _encode(picture: Any, width: int) -> bytes:
    from PIL import Image

    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=72, method=2)  # half the time of the default, for 4 % more bytes
    return buffer.getvalue()
