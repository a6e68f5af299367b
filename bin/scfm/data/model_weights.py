"""Why a model's weights can't be used in a run: absent files, or a licence that nobody has accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from scfm.models.table import ModelInfo


class Problem(NamedTuple):
    """Why a model does not run on a data set: a short code, and sentences with what to do."""

    code: str
    text: str


def why_no_weights(
    info: ModelInfo, files: Sequence[str] | None, *, settings: Mapping[str, Any], weights_dir: str, accepted: bool
) -> list[Problem]:
    """Hold the files of a model's folder against what it needs.

    Parameters
    ----------
    info
        The model.
    files
        Files in its folder, relative to it; None = no such folder.
    settings
        Its settings: some name files.
    weights_dir
        ``--weights_dir`` as given, empty where it was not.
    accepted
        Whether the user has accepted its licence.
    """
    problems = []
    if not files:
        place = f"{weights_dir.rstrip('/')}/{info.name}" if weights_dir else "--weights_dir (not given)"
        problems.append(Problem("weights_missing", (
            f"The weights of {info.title} are not in {place}. Get them with: bin/fetch_weights.py --model {info.name} --dest "
            f"{weights_dir or 'DIR'}"
        )))
    if "non-commercial" in info.licence and not accepted:
        problems.append(Problem("license_not_accepted", (
            f"The weights of {info.title} have a licence that must be accepted ({info.licence}). Read it, then add --accept_license {info.name}."
        )))
    return problems
