"""Why a model's weights can't be used in a run: absent files, or a licence that has not been accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from scfm.registries.models import ModelInfo
from scfm.text import listing

if TYPE_CHECKING:
    from scfm.registries.weights import WeightsTable

#: settings by which the user takes other files than the released ones; only the model can say what is missing then
OWN_FILES = ("checkpoint", "release")


class Problem(NamedTuple):
    """Why a model does not run on a data set: a short code, and sentences with what to do."""

    code: str
    text: str


def why_no_weights(
    info: ModelInfo,
    files: Sequence[str] | None,
    table: "WeightsTable",
    *,
    own: Mapping[str, Any],
    weights_dir: str,
    accepted: bool,
) -> list[Problem]:
    """Hold the names of the files in a model's folder against what it needs, without opening them.

    Parameters
    ----------
    info
        The model.
    files
        Files in its folder, relative to it; None = no such folder.
    table
        ``assets/weights.tsv`` and ``assets/weights_files.tsv``.
    own
        The user's settings of the model: some name files.
    weights_dir
        ``--weights_dir`` as given, empty where it was not.
    accepted
        Whether the user has accepted its licence.
    """
    from scfm.weights.check import check_names

    state = check_names(table, info.name, files or (), dest=weights_dir or "DIR")
    problems = []
    if not state.is_complete and not (files and any(own.get(key) for key in OWN_FILES)):
        place = f"in {weights_dir.rstrip('/')}/{info.name}" if weights_dir else "(no --weights_dir was given)"
        problems.append(
            Problem(
                "weights_missing",
                f"Weights missing {place}: {listing(state.missing)} of {info.title} ({state.release}). On a machine"
                f" with internet: {state.command}",
            )
        )
    accept = table.release(info.name, state.release).accept
    if accept and not accepted and not state.is_random:  # randomly initialised weights have no licence
        problems.append(
            Problem(
                "license_not_accepted",
                "The licence of the weights must be accepted first"
                f" ({table.release(info.name, state.release).licence}). Read it, then add --accept_license {accept}.",
            )
        )
    return problems
