"""From the published tables to what MultiQC reads."""

from __future__ import annotations

import logging
from pathlib import Path

from scfm.report.data import ReportData
from scfm.report.mqc import Module, write_modules
from scfm.report.section_guide import guide_sections
from scfm.report.section_overview import describe_run, describe_size, overview
from scfm.report.section_pictures import PICTURE_BUDGET, training_sections, umap_sections
from scfm.report.section_probing import probing_sections
from scfm.report.section_published import published_sections
from scfm.report.section_run import run_sections
from scfm.report.section_scores import score_sections

log = logging.getLogger(__name__)


def build_modules(data: ReportData) -> list[Module]:
    """Return the chapters of the report in reading order: the answer, each data set, the run, the guide."""
    names = data.dataset_names()
    budget = PICTURE_BUDGET // max(1, len(names))
    modules = [Module("overview", "Overview", overview(data), describe_run(data))]
    for name in names:
        modules.append(Module(f"data_{name}", name if len(names) > 1 else f"Data set {name}", [
            *score_sections(data, name), *published_sections(data, name), *probing_sections(data, name), *umap_sections(data, name, budget=budget), *training_sections(data, name),
        ], describe_size(data, name)))
    modules.append(Module("run", "The run", run_sections(data), "What became of every planned embedding, and what it cost."))
    modules.append(Module("guide", "How to read it", guide_sections(data), "What the numbers say and what they miss, and what was done."))
    return modules


def build_report(data: ReportData, outdir: Path) -> None:
    """Write the sections, the order and the versions into ``outdir`` for ``multiqc -c <outdir>/scfmbench_order.yml <outdir>``."""
    import yaml

    title = data.params.get("report_title") or "Batch effect left in embeddings, and its cost to biology"
    write_modules(build_modules(data), outdir, title=str(title))
    if data.versions:
        (outdir / "scfmbench_mqc_versions.yml").write_text(yaml.safe_dump(data.versions, sort_keys=True))
    log.info("wrote %d files for MultiQC", len(list(outdir.iterdir())))
