"""How the fit of a method ended, in sentences made of the facts that its sidecar has."""

from __future__ import annotations

from typing import Any

from scfm.text import plural

#: verdicts of :class:`scfm.integration.training.Judgement` in words
_VERDICTS = {
    "fine": ": converged, no sign of overfitting",
    "overfit": ": overfit",
    "not_converged": ": not converged",
    "unknown": ": no cells were held out, so overfitting can't be seen",
}


def verdicts_of(sidecar: dict[str, Any]) -> list[str]:
    """Return what a sidecar says of the fit: rounds, epochs, merges, alignments, variance removed, connected parts."""
    parts = (_rounds, _training, _merges, _anchors, _alignments, _removed, _graph, _components)
    return [text for part in parts if (text := part(sidecar))]


def _rounds(sidecar: dict[str, Any]) -> str:
    """Harmony: rounds and whether the objective settled."""
    limit, rounds = (sidecar.get("settings") or {}).get("max_iter"), sidecar.get("rounds")
    if rounds is None or not limit:
        return ""
    end = {True: ", converged", False: ", not converged"}.get(sidecar.get("converged"), "")
    return f"{rounds} of at most {limit} rounds{end}"


def _training(sidecar: dict[str, Any]) -> str:
    """scVI, scANVI: epochs, the best epoch and the gap."""
    training = sidecar.get("training") or {}
    if not training.get("epochs_run"):
        return ""
    text = f"{training['epochs_run']} of at most {training.get('max_epochs')} epochs"
    restored, gap = training.get("restored_epoch"), training.get("gap")
    text += f", weights of epoch {restored}" if restored else ""
    text += f"; validation loss {gap:+.1%} from training loss" if gap is not None else ""
    return text + _VERDICTS.get(training.get("verdict"), "")


def _merges(sidecar: dict[str, Any]) -> str:
    """fastMNN: pairs of the weakest merge, and the largest loss of variance."""
    merges = sidecar.get("merges")
    if not merges:
        return ""
    weakest = min(merges, key=lambda merge: merge["pairs"])
    share, batch = max((share, batch) for merge in merges for batch, share in merge["lost_variance"].items())
    return (
        f"{plural(len(merges), 'merge')}, the weakest ({weakest['batch']}) on {plural(weakest['pairs'], 'pair')} of"
        f" mutual neighbours; at most {share:.1%} of a batch's variance lost in a merge ({batch})"
    )


def _anchors(sidecar: dict[str, Any]) -> str:
    """Seurat: anchors, and the cells that the weakest merge rests on."""
    merges = sidecar.get("anchor_merges")
    if not merges:
        return ""
    weakest, total = min(merges, key=lambda m: m["anchor_cells"]), sum(p["anchors"] for p in sidecar.get("anchors", []))
    return (
        f"{plural(total, 'anchor')} between batches; {plural(len(merges), 'merge')}, the weakest"
        f" ({' + '.join(weakest['joined'])}) on {plural(weakest['anchor_cells'], 'cell')} with an anchor"
    )


def _alignments(sidecar: dict[str, Any]) -> str:
    """Scanorama: pairs of batches that were joined, and the range of their scores."""
    aligned, alpha = sidecar.get("alignments"), (sidecar.get("settings") or {}).get("alpha")
    if aligned is None or alpha is None:
        return ""
    scores = sorted(a["score"] for a in aligned if a["score"] > alpha)
    if not scores:
        return f"no pair of batches aligned above {alpha:g}: nothing was corrected"
    return f"{plural(len(scores), 'pair')} of batches aligned, with scores from {scores[0]:.2f} to {scores[-1]:.2f}"


def _removed(sidecar: dict[str, Any]) -> str:
    """ComBat, linear removal: what the batch took with it."""
    share = sidecar.get("removed_variance")
    return "" if share is None else f"computed in one step; {share:.1%} of the variance of the genes removed"


def _graph(sidecar: dict[str, Any]) -> str:
    """BBKNN: whether the graph is in one piece."""
    parts = sidecar.get("n_parts")
    if parts is None:
        return ""
    whole = "all cells connected" if parts == 1 else f"{plural(parts, 'part')} without an edge between them"
    return f"{plural(sidecar['n_edges'], 'edge')}, {whole}"


def _components(sidecar: dict[str, Any]) -> str:
    """PCA: whether the components were cut where they still matter."""
    ratio = sidecar.get("last_to_first")
    if ratio is None:
        return ""
    return f"{plural(sidecar['n_dims'], 'component')}; the last has {ratio:.1%} of the variance of the first"
