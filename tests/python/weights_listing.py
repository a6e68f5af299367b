"""What a complete ``--weights_dir`` looks like to the check of a run: file names only."""

from __future__ import annotations

from scfm.registries.weights import load_weights_table

WEIGHTS = load_weights_table()


def complete_listing() -> dict[str, list[str]]:
    """Return model -> files in its folder, for every model of the table: those that its usual release needs."""
    return {
        name: [f.path for f in WEIGHTS.files_of(WEIGHTS.release(name)) if f.need == "required"]
        for name in WEIGHTS.models
    }
