"""The tables of released weights: ``assets/weights.tsv`` (releases) and ``assets/weights_files.tsv`` (their files)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from scfm.errors import ScfmError
from scfm.registries.reader import ASSETS, read_registry
from scfm.text import did_you_mean


@dataclass(frozen=True, slots=True)
class WeightsRelease:
    """One row of ``assets/weights.tsv``; the fields are explained in ``assets/schema_weights.json``."""

    name: str
    title: str
    dims: tuple[str, ...]
    gene_ids: str
    organisms: tuple[str, ...]
    trained_on: str
    licence: str
    accept: str
    article: str
    description: str

    @property
    def model(self) -> str:
        """The model."""
        return self.name.split("/", 1)[0]

    @property
    def release(self) -> str:
        """The release."""
        return self.name.split("/", 1)[1]


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One row of ``assets/weights_files.tsv``; the fields are explained in ``assets/schema_weights_files.json``."""

    name: str
    releases: tuple[str, ...]
    also_at: tuple[str, ...]
    need: str
    source: str
    repository: str
    revision: str
    remote_path: str
    unpack: str
    size: str
    sha256: str
    note: str

    @property
    def model(self) -> str:
        """The model."""
        return self.name.split("/", 1)[0]

    @property
    def path(self) -> str:
        """Path below the model's folder."""
        return self.name.split("/", 1)[1]

    @property
    def bytes(self) -> int | None:
        """Exact size, None where it is not known."""
        return int(self.size) if self.size else None

    @property
    def url(self) -> str:
        """Address that can be downloaded, empty for ``manual`` sources."""
        where = quote(self.remote_path)
        if self.source == "hub":
            return f"https://huggingface.co/{self.repository}/resolve/{self.revision or 'main'}/{where}"
        if self.source == "github":
            return f"https://raw.githubusercontent.com/{self.repository}/{self.revision or 'HEAD'}/{where}"
        if self.source == "github_lfs":
            return f"https://media.githubusercontent.com/media/{self.repository}/{self.revision or 'HEAD'}/{where}"
        return self.remote_path if self.source == "url" else ""

    @property
    def page(self) -> str:
        """Address for a person."""
        if self.source == "hub":
            return f"https://huggingface.co/{self.repository}"
        return f"https://github.com/{self.repository}" if self.source.startswith("github") else self.repository


@dataclass(frozen=True)
class WeightsTable:
    """All released weights.

    Attributes
    ----------
    releases, files
        Rows in the order of the tables.
    """

    releases: tuple[WeightsRelease, ...]
    files: tuple[WeightsFile, ...]

    @property
    def models(self) -> list[str]:
        """Models that have weights, in the order of the table."""
        return list(dict.fromkeys(v.model for v in self.releases))

    def releases_of(self, model: str) -> list[WeightsRelease]:
        """Return the releases of a model, the usual one first; an unknown model is an error."""
        if model not in self.models:
            raise ScfmError(
                f"No weights are known for model '{model}'.{did_you_mean(model, self.models)} Known:"
                f" {', '.join(self.models)}."
            )
        return [v for v in self.releases if v.model == model]

    def release(self, model: str, name: str = "") -> WeightsRelease:
        """Return a release of a model, the usual one where none is named."""
        known = {v.release: v for v in self.releases_of(model)}
        if name and name not in known:
            raise ScfmError(f"{model} has no release '{name}'.{did_you_mean(name, known)} It has {', '.join(known)}.")
        return known[name] if name else next(iter(known.values()))

    def files_of(self, release: WeightsRelease) -> list[WeightsFile]:
        """Return the files of a release."""
        return [f for f in self.files if f.model == release.model and release.release in f.releases]


def load_weights_table(folder: Path | str = ASSETS) -> WeightsTable:
    """Load both tables, check them against their schemas and against each other.

    Raises
    ------
    ScfmError
        Names row and column of the first error.
    """
    folder = Path(folder)
    releases = [WeightsRelease(**row) for row in read_registry(folder / "weights.tsv", kind="weight").values()]
    path = folder / "weights_files.tsv"
    files = [WeightsFile(**row) for row in read_registry(path, kind="weights_file").values()]
    names = {v.name for v in releases}
    for file in files:
        if unknown := [v for v in file.releases if f"{file.model}/{v}" not in names]:
            raise ScfmError(
                f"{path}: '{file.name}' belongs to {unknown[0]}, which is no release of {file.model} in weights.tsv."
            )
        if (file.source == "manual") == bool(file.remote_path) or ".." in Path(file.path).parts:
            raise ScfmError(
                f"{path}: '{file.name}': remote_path must be given unless the source is manual, and the path may not"
                " leave the folder."
            )
    if empty := names - {f"{f.model}/{v}" for f in files for v in f.releases}:
        raise ScfmError(f"{path}: has no file for {sorted(empty)[0]} of weights.tsv.")
    return WeightsTable(tuple(releases), tuple(files))
