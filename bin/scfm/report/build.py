"""From the published tables to what MultiQC reads."""

from __future__ import annotations

import logging
from pathlib import Path

from scfm.report.page.mqc import Module, Section, write_modules
from scfm.report.sections.across import across_sections
from scfm.report.sections.centring import centring_sections
from scfm.report.sections.centroids import MAP_BUDGET, centroid_sections
from scfm.report.sections.circles import circle_sections
from scfm.report.sections.design import baseline_sections, design_sections
from scfm.report.sections.guide import guide_sections
from scfm.report.sections.keys import key_sections
from scfm.report.sections.overview import describe_run, describe_size, overview
from scfm.report.sections.pictures import PICTURE_BUDGET, training_sections, umap_sections
from scfm.report.sections.probing import probing_sections
from scfm.report.sections.provenance import provenance_sections
from scfm.report.sections.published import published_sections
from scfm.report.sections.run import run_sections
from scfm.report.sections.scores import score_sections
from scfm.report.view.data import ReportData

log = logging.getLogger(__name__)


def build_modules(data: ReportData) -> list[Module]:
    """Return the chapters of the report in reading order: the answer, each data set, the run, the guide."""
    names = data.dataset_names()
    budget, map_budget = (total // max(1, len(names)) for total in (PICTURE_BUDGET, MAP_BUDGET))
    modules = [Module("overview", "Overview", overview(data), describe_run(data))]
    title, what = (
        ("Across data sets", "Every data set beside the others")
        if len(names) > 1
        else ("Across models", "The foundation models beside each other")
    )
    modules.append(
        Module("across", title, across_sections(data), f"{what}: methods as they come, nothing subtracted afterwards.")
    )
    for name in names:
        sections = data_sections(data, name, picture_budget=budget, map_budget=map_budget)
        modules.append(
            Module(f"data_{name}", name if len(names) > 1 else f"Data set {name}", sections, describe_size(data, name))
        )
    modules.append(
        Module("run", "The run", run_sections(data), "What became of every planned embedding, and what it cost.")
    )
    modules.append(
        Module(
            "guide",
            "How to read it",
            guide_sections(data),
            "What the numbers say and what they miss, and what was done.",
        )
    )
    return modules


def data_sections(data: ReportData, name: str, *, picture_budget: int, map_budget: int) -> list[Section]:
    """Return the sections of one data set: what its batch is, scores, ours and published, probes, centring, pictures,
    where it is from, other keys.
    """
    return [
        *design_sections(data, name),
        *score_sections(data, name),
        *circle_sections(data, name),
        *published_sections(data, name),
        *probing_sections(data, name),
        *baseline_sections(data, name),
        *centring_sections(data, name),
        *centroid_sections(data, name, budget=map_budget),
        *umap_sections(data, name, budget=picture_budget),
        *training_sections(data, name),
        *provenance_sections(data, name),
        *key_sections(data, name),
    ]


def build_report(data: ReportData, outdir: Path) -> None:
    """Write the sections, the order and the versions into ``outdir`` for ``multiqc -c <outdir>/scfmbench_order.yml
    <outdir>``.
    """
    import yaml

    title = data.params.get("report_title") or "Batch effect left in embeddings, and its cost to biology"
    write_modules(build_modules(data), outdir, title=str(title))
    if data.versions:
        (outdir / "scfmbench_mqc_versions.yml").write_text(yaml.safe_dump(data.versions, sort_keys=True))
    log.info("wrote %d files for MultiQC", len(list(outdir.iterdir())))
