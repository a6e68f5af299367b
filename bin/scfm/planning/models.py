"""Foundation models in the check of a run: which run on which data set, with which settings, and why one does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scfm.inputs.genes import normal_organism
from scfm.inputs.keys import KEYS, LISTED, key_column, keys_of
from scfm.inputs.params import choose_names
from scfm.models import model_class
from scfm.planning.model_weights import Problem, why_no_weights
from scfm.registries.models import ModelInfo

if TYPE_CHECKING:
    from scfm.registries.weights import WeightsTable

#: settings that name the organism of the cells
ORGANISM_SETTINGS = ("species", "default_organism")
#: end of the method name of a model with random weights
RANDOM = "_random"
#: keys that have their own names in the prepared h5ad too; the others keep the user's
IN_PREPARED = ("batch", "label")


@dataclass(frozen=True, slots=True)
class Models:
    """What a run was asked to do with models.

    Attributes
    ----------
    table
        ``assets/models.tsv``.
    chosen
        Models to run, in the order given.
    options
        Settings of the user's YAML file, by model.
    random_init
        Whether every model also runs with random weights.
    weights_dir
        As given by the user, for the sentences.
    files
        Files in ``<weights_dir>/<model>``, relative to it; None or absent where there is no such folder.
    accepted
        Models whose restricted licence the user has accepted.
    weights
        The tables of released weights; None only where no model is chosen.
    """

    table: Mapping[str, ModelInfo] = field(default_factory=dict)
    chosen: Sequence[str] = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    random_init: bool = False
    weights_dir: str = ""
    files: Mapping[str, Sequence[str] | None] = field(default_factory=dict)
    accepted: frozenset[str] = frozenset()
    weights: "WeightsTable | None" = None

    def method_names(self) -> list[str]:
        """Return every method name that a model can have; an embedding of the user can't bear them."""
        return [name + end for name in self.table for end in ("", RANDOM)]


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """One model on one data set.

    Attributes
    ----------
    info
        Its row of the models table.
    settings
        What ``embed_cells.py --options`` is given.
    problems
        Why it can't run; empty where it can.
    with_random
        Whether the model with random weights is planned too.
    group_column
        Column of the obs table that shards must follow; empty where cells are apart, or where it is not one of its
        columns.
    """

    info: ModelInfo
    settings: Mapping[str, Any]
    problems: Sequence[Problem] = ()
    with_random: bool = False
    group_column: str = ""


def plan_models(models: Models, row: Mapping[str, str], facts: Mapping[str, Any]) -> list[PlannedModel]:
    """Decide for one data set which models run and with which settings.

    Parameters
    ----------
    models
        What was asked for.
    row
        Row of the samplesheet.
    facts
        What the check of the file found; ``genes`` is read.
    """
    planned = []
    for name in models.chosen:
        info, own = models.table[name], models.options.get(name, {})
        settings, problems = fill_settings(info, own, row, facts.get("genes") or {})
        found = why_no_weights(
            info,
            models.files.get(name),
            models.weights,
            own=own,
            weights_dir=models.weights_dir,
            accepted=name in models.accepted,
        )
        planned.append(
            PlannedModel(info, settings, [*found, *problems], models.random_init, _shards_follow(info, settings, row))
        )
    return planned


def fill_settings(
    info: ModelInfo, own: Mapping[str, Any], row: Mapping[str, str], genes: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """Return a model's settings for a prepared data set, and why there are none that fit.

    The counts are in the layer ``counts`` and the gene names in ``var['gene_symbol']`` and ``var['gene_id']`` of every
    prepared data set; the organism is the samplesheet's. What the user has set stays.

    Parameters
    ----------
    info
        The model.
    own
        The user's settings of this model.
    row
        Row of the samplesheet.
    genes
        ``symbols_from``, ``ids_from`` and ``organism`` as the check of the file found them.
    """
    cls = model_class(info.name)
    known = {f.name for f in dataclasses.fields(cls.Settings)}
    settings: dict[str, Any] = {"input_layer": "counts"}
    problems: list[Problem] = []
    if "gene_column" not in own:
        column, problem = _gene_column(info, genes, reads_symbols=cls.reads_symbols)
        settings["gene_column"] = column
        problems += [problem] if problem else []
    places = [key for key in ORGANISM_SETTINGS if key in known]
    declared = row.get("organism") or genes.get("organism") or ""
    if declared and not any(key in own for key in places):
        organism = _organism(declared, info.organisms)
        if organism is None:
            problems.append(
                Problem(
                    "organism_not_supported",
                    f"{info.title} has a vocabulary for {', '.join(info.organisms)}; this data set is of '{declared}'"
                    f"{'' if row.get('organism') else ' by the form of its Ensembl ids'}.",
                )
            )
        else:
            settings |= dict.fromkeys(places, organism)
            if row.get("organism") and "organism_column" in known:
                settings["organism_column"] = ""  # said for all cells: no column of obs is asked
    settings |= own
    key = _key_of(str(settings.get("group_column") or ""), row)
    if key in IN_PREPARED:
        settings["group_column"] = key
    return settings, problems


def _gene_column(info: ModelInfo, genes: Mapping[str, Any], *, reads_symbols: bool) -> tuple[str, Problem | None]:
    """Return the column of the prepared data set that holds what the model's vocabulary holds."""
    has_symbols, has_ids = bool(genes.get("symbols_from")), bool(genes.get("ids_from"))
    if info.gene_ids == "symbol":
        return "gene_symbol", (
            None
            if has_symbols
            else Problem(
                "no_gene_symbols",
                f"{info.title} needs gene symbols and none were found in this data set. Name the var column that holds"
                " them in gene_symbol_column of the samplesheet.",
            )
        )
    if has_ids:
        return "gene_id", None
    if reads_symbols and has_symbols:
        return "gene_symbol", None
    return "gene_id", Problem(
        "no_gene_ids",
        f"{info.title} needs Ensembl gene ids and none were found in this data set. Name the var column that holds them"
        " in gene_id_column of the samplesheet.",
    )


def _organism(declared: str, known: Sequence[str]) -> str | None:
    """Return the model's name of an organism, None where it does not know it."""
    written = declared.strip().lower()
    names = {text.replace(" ", "_") for text in (written, normal_organism(written))}
    return next((name for name in known if name in names), None)


def _key_of(column: str, row: Mapping[str, str]) -> str:
    """Return what the obs table calls a column of the user's (``batch``, ``donor``, ``batch:assay`` …); empty where it
    does not have it.
    """
    if column in IN_PREPARED:
        return column
    named = [name for name, key in KEYS.items() if column and keys_of(row, key)[:1] == [column]]
    named += [key_column(name, column) for name in LISTED if column in keys_of(row, KEYS[name])]
    return next(iter(named), "")


def _shards_follow(info: ModelInfo, settings: Mapping[str, Any], row: Mapping[str, str]) -> str:
    """Return the column of the obs table that no shard may cut across; empty where there is none."""
    return "" if info.cells_apart else _key_of(str(settings.get("group_column") or ""), row)


def choose_models(
    params: Mapping[str, Any],
    table: Mapping[str, ModelInfo],
    options: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, Sequence[str] | None],
    weights: "WeightsTable | None" = None,
) -> tuple[Models, list[str]]:
    """Resolve ``--models`` and ``--accept_license``.

    Parameters
    ----------
    params
        All parameters, with defaults.
    table
        The models table.
    options
        From :func:`scfm.planning.model_options.read_options`.
    files
        Files of every model below ``--weights_dir``.
    weights
        The tables of released weights.

    Returns
    -------
    What to run; sentences about unknown names.
    """
    chosen, errors = choose_names("models", params.get("models"), table, noun="model")
    accepted, more = choose_names("accept_license", params.get("accept_license"), table, noun="model")
    models = Models(
        table,
        chosen,
        options,
        bool(params.get("random_init")),
        str(params.get("weights_dir") or ""),
        files,
        frozenset(accepted),
        weights,
    )
    return models, errors + more


def describe(problems: Sequence[Problem]) -> tuple[str, str]:
    """Return code and sentences of what keeps a model from running: the code of the first, the sentences of all."""
    return problems[0].code, " ".join(problem.text for problem in problems)
