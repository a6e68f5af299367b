"""A small mirror in a folder, and a server of it that misbehaves on request."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scfm.testing.mirror import load_mirror
from scfm.testing.serve import MirrorHandler, serve

SIGNATURE = b"\x89HDF\r\n\x1a\n"


def uuid(number: int) -> str:
    """An id that no real data set has."""
    return f"0c0de000-0000-4000-8000-{number:012d}"


LIVER, LUNG, GONE, EMPTY = uuid(1), uuid(2), uuid(3), uuid(4)
HEALTHY, ALL, MOUSE, WITHDRAWN, ATLAS = uuid(11), uuid(12), uuid(13), uuid(14), uuid(15)
HEALTHY_NEW, HEALTHY_OLD, ALL_V, MOUSE_V, WITHDRAWN_V, ATLAS_V = (
    uuid(21),
    uuid(20),
    uuid(22),
    uuid(23),
    uuid(24),
    uuid(25),
)
UNKNOWN = uuid(99)


def content_of(name: str, size: int = 200_000) -> bytes:
    """Bytes with the beginning of an HDF5 file, others for every name."""
    return SIGNATURE + np.random.default_rng(list(name.encode())).bytes(size)


def entry(dataset: str, version: str, title: str, file: str, **more: Any) -> dict[str, Any]:
    """A data set of ``mirror.json``."""
    known = {
        "organism": ["Homo sapiens"],
        "disease": ["normal"],
        "tissue": ["liver"],
        "assay": ["10x 3' v3"],
        "cell_count": 1200,
    }
    return {"dataset_id": dataset, "dataset_version_id": version, "title": title, "file": file} | known | more


def index() -> dict[str, Any]:
    """``mirror.json`` of the tests."""
    healthy = entry(
        HEALTHY,
        HEALTHY_NEW,
        "Healthy liver",
        "healthy.h5ad",
        citation="Somebody et al.",
        schema_version="5.2.0",
        previous=[{"dataset_version_id": HEALTHY_OLD, "file": "healthy_old.h5ad", "cell_count": 1100}],
    )
    liver = [
        healthy,
        entry(
            ALL,
            ALL_V,
            "All cells of the liver",
            "all.h5ad",
            disease=["normal", "biliary atresia"],
            assay=["10x 3' v3", "10x 3' v2"],
        ),
        entry(MOUSE, MOUSE_V, "Mouse liver", "mouse.h5ad", organism=["Mus musculus"]),
        {"dataset_id": WITHDRAWN, "dataset_version_id": WITHDRAWN_V, "title": "Withdrawn", "tombstone": True},
    ]
    return {
        "collections": [
            {"collection_id": LIVER, "name": "Liver", "doi": "10.1000/liver", "datasets": liver},
            {
                "collection_id": LUNG,
                "name": "Lung",
                "datasets": [entry(ATLAS, ATLAS_V, "Lung atlas", "atlas.h5ad", tissue=["lung"])],
            },
            {"collection_id": EMPTY, "datasets": []},
        ],
        "files": ["orthologs.csv", "page.html"],
    }


def write_folder(folder: Path, content: dict[str, Any] | None = None) -> Path:
    """Write the folder of a mirror."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("healthy", "healthy_old", "all", "mouse", "atlas"):
        (folder / f"{name}.h5ad").write_bytes(content_of(name))
    (folder / "orthologs.csv").write_text("human,mouse\nTP53,Trp53\n")
    (folder / "page.html").write_text("<html>log in</html>")
    (folder / "mirror.json").write_text(json.dumps(content or index()))
    return folder


@dataclass
class Faults:
    """How the server misbehaves, and what it was asked.

    Attributes
    ----------
    cuts
        Bytes after which the next answers with a file break off; None = whole.
    codes
        (status, Retry-After) for the next requests of files, or of the interface, in place of the answer.
    sizes
        File name -> the size that the interface states.
    assets
        Replaces the list of assets.
    kind
        Content type of files.
    """

    cuts: list[int | None] = field(default_factory=list)
    codes: list[tuple[int, str]] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    assets: list[dict[str, Any]] | None = None
    kind: str = ""
    tombstone: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    api: str = ""

    @property
    def paths(self) -> list[str]:
        """Paths that were asked for."""
        return [path for path, _ in self.asked]

    @property
    def files(self) -> str:
        """Address of the files."""
        return self.api.replace("/curation/v1", "/files")


class FaultyHandler(MirrorHandler):
    """The mirror's handler with faults."""

    faults: Faults

    def do_GET(self) -> None:
        faults = self.faults
        faults.asked.append((self.path.replace("/curation/v1", ""), self.headers.get("Range")))
        if faults.codes:
            code, after = faults.codes.pop(0)
            self.answer_json(code, "a fault", {"Retry-After": after} if after else {})
            return
        super().do_GET()

    def version_content(self, version: Any) -> dict[str, Any]:
        content = super().version_content(version)
        asset = content["assets"][0]
        asset["filesize"] = self.faults.sizes.get(asset["url"].rsplit("/", 1)[1], asset["filesize"])
        if self.faults.assets is not None:
            content["assets"] = self.faults.assets
        return content | {"tombstone": self.faults.tombstone}

    def send_head(self, code: int, length: int, headers: dict[str, str]) -> None:
        if self.faults.kind and self.path.startswith("/files"):
            headers = headers | {"Content-Type": self.faults.kind}
        super().send_head(code, length, headers)

    def send_part(self, path: Path, start: int, end: int) -> None:
        cut = self.faults.cuts.pop(0) if self.faults.cuts else None
        super().send_part(path, start, end if cut is None else min(end, start + cut))
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_WR)


@contextmanager
def serving(folder: Path) -> Iterator[Faults]:
    """Serve a folder; what is set on the result is how."""
    faults = Faults()
    with serve(load_mirror(folder), handler=type("Faulty", (FaultyHandler,), {"faults": faults})) as faults.api:
        yield faults
