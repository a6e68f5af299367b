"""A simulated data set on its way through the executables, from the check to the comparison of conditions."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from helpers_data import SCHEMA
from helpers_modules import ASSETS, call
from scfm.diagnosis.data import Cells, Embedded, read_cell_data, read_embedded
from scfm.inputs.params import with_defaults
from scfm.io.tables import read_json, read_table, write_json
from scfm.registries.schemas import Schemas
from scfm.registries.typed import read_typed

KEYS = {"batch_key": "batch", "label_key": "cell_type"}
SCHEMAS = Schemas(ASSETS)


class Study:
    """One data set, ``sim``, whose files lie in a folder; every step is the executable of the pipeline.

    Parameters
    ----------
    folder
        Where all files are written.
    design
        Of the simulated cells, as in ``docs/simulator.md``.
    seed
        Of the simulated cells.
    keys
        Further columns of the samplesheet.
    params
        Parameters of the run; all others have their defaults.
    """

    def __init__(
        self, folder: Path, design: dict, *, seed: int = 0, keys: dict | None = None, **params: object
    ) -> None:
        self.folder, self.params = folder, {"input": "samplesheet.csv", "outdir": "results", **params}
        write_json(folder / "simulated.json", design)
        call("simulate_cells", design=folder / "simulated.json", seed=seed, output=folder / "sim.h5ad")
        row = {"dataset": "sim", "h5ad": "sim.h5ad", **KEYS, **(keys or {})}
        pd.DataFrame([row]).to_csv(folder / "samplesheet.csv", index=False)
        write_json(folder / "given.json", self.params)
        call("check_inputs", params=folder / "given.json", input=folder / "samplesheet.csv", outdir=folder)
        errors = (folder / "errors.txt").read_text()
        assert errors == "", errors
        self.set()
        about = {"dataset": "sim", "datasets": folder / "datasets.json", "params": folder / "params.json"}
        call("prepare_dataset", **about, h5ad=folder / "sim.h5ad", outdir=folder)
        call("describe_design", **about, **self.files("prepared", "obs", "pca"), outdir=folder)

    def set(self, **params: object) -> None:
        """Set parameters for the steps that follow."""
        self.params |= params
        write_json(self.folder / "params.json", with_defaults(self.params, SCHEMA))

    def files(self, *kinds: str) -> dict[str, Path]:
        """Return files of the data set as options."""
        endings = {"prepared": "h5ad", "design": "json"}
        return {kind: self.folder / f"sim.{kind}.{endings.get(kind, 'parquet')}" for kind in kinds}

    def embed(self, method: str, **params: object) -> str:
        """Run a method with the first seed, the validation gate and the neighbour search; return the embedding."""
        self.set(**params)
        folder, name = self.folder, f"sim.{method}.raw.0"
        settings = {"params": folder / "params.json", "methods_table": ASSETS / "methods.tsv", "device": "cpu"}
        given = self.files("obs", "pca", "prepared")
        call("integrate_cells", method=method, dataset="sim", **given, **settings, outdir=folder, on_error="stop")
        unchecked = {"embedding": folder / f"{name}.unchecked.parquet", "sidecar": folder / f"{name}.unchecked.json"}
        call("validate_embedding", **unchecked, obs=given["obs"], outdir=folder, on_error="stop")
        call("find_neighbors", **self.of(name), obs=given["obs"], outdir=folder, on_error="stop")
        return name

    def of(self, *names: str) -> dict[str, list[Path]]:
        """Return embedding tables and sidecars as options."""
        kinds = {"embedding": "parquet", "sidecar": "json"}
        return {kind: [self.folder / f"{name}.{ending}" for name in names] for kind, ending in kinds.items()}

    def diagnose(self, *names: str) -> None:
        """Diagnose embeddings."""
        call(
            "diagnose_embedding",
            **self.of(*names),
            **self.files("obs", "prepared", "pca"),
            knn=[self.folder / f"{name}.knn.npz" for name in names],
            programmes=ASSETS / "programmes.tsv",
            metrics_table=ASSETS / "metrics.tsv",
            params=self.folder / "params.json",
            outdir=self.folder,
            on_error="stop",
        )

    def compare(self, model: str = "") -> pd.DataFrame:
        """Compare the conditions, with a scVI model where one is named; return ``de.tsv``."""
        trained = {"model": self.folder / f"{model}.model", "sidecar": self.folder / f"{model}.json"} if model else {}
        given = self.files("prepared", "obs", "design") | {"params": self.folder / "params.json"}
        call("compare_conditions", dataset="sim", **given, **trained, outdir=self.folder, on_error="stop")
        return read_typed(self.folder / "sim.de.tsv", "de", SCHEMAS)

    def table(self, name: str, kind: str) -> pd.DataFrame:
        """Return a table of the diagnosis of an embedding."""
        return read_typed(self.folder / f"{name}.{kind}.tsv", kind, SCHEMAS)

    def told(self, name: str = "", step: str = "") -> dict[str, list[dict]]:
        """Return messages by code: those of the design, or of a step of an embedding or of the data set."""
        if not step:
            entries = read_json(self.folder / "sim.design.json")["warnings"]
        else:
            entries = read_json(self.folder / f"{name or 'sim'}.{step}.status.json")["warnings"]
        return _by_code(entries)

    def trained(self, name: str) -> dict[str, list[dict]]:
        """Return the messages of the training of an embedding by code."""
        return _by_code(json.loads((self.folder / f"{name}.json").read_text())["warnings"])

    def cells(self) -> Cells:
        """Return the scored cells."""
        return read_cell_data("sim", *self.files("obs", "prepared").values())

    def embedded(self, name: str) -> Embedded:
        """Return an embedding with its neighbours."""
        return read_embedded(self.folder / f"{name}.parquet", self.folder / f"{name}.knn.npz", self.cells())

    def obs(self) -> pd.DataFrame:
        """Return the obs table by cell id."""
        return read_table(self.files("obs")["obs"]).set_index("cell_id")


def _by_code(entries: list[dict]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for entry in entries:
        found.setdefault(entry["code"], []).append(entry)
    return found
