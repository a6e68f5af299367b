"""From the published tables to what MultiQC reads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from scfm.errors import ScfmError
from scfm.registries.sections import Chapter, SectionRow, load_chapters, load_sections
from scfm.report.page.mqc import Module, Section, slug, write_modules
from scfm.report.view.data import ReportData

log = logging.getLogger(__name__)


def build_modules(data: ReportData) -> list[Module]:
    """Return the chapters of the report with their sections, both in the order of their tables in ``assets/``.

    A chapter shows its sections on the whole run first, then those of each data set, data sets in the order of the
    samplesheet.
    """
    rows = load_sections(data.assets)
    return [chapter_of(data, chapter, list(rows.values())) for chapter in load_chapters(data.assets).values()]


def chapter_of(data: ReportData, chapter: Chapter, rows: list[SectionRow]) -> Module:
    """Return one chapter; it has no sections where nothing of it is in the run."""
    rows = [row for row in rows if row.chapter == chapter.name]
    sections = [
        replace(section, table=section.table or row.table)
        for row in rows
        if row.scope == "run"
        for section in section_function(row)(data)
    ]
    for name in data.dataset_names():
        sections += [
            replace(section, key=f"{slug(name)}_{section.key}", dataset=name, table=section.table or row.table)
            for row in rows
            if row.scope == "dataset"
            for section in section_function(row)(data, name)
        ]
    return Module(chapter.name, chapter.title, sections, chapter.description, folded=chapter.folded)


def section_function(row: SectionRow) -> Callable[..., list[Section]]:
    """Return the function of a row.

    Raises
    ------
    ScfmError
        There is no such function in ``scfm.report.sections``.
    """
    module, name = row.function.split(".")
    try:
        return getattr(import_module(f"scfm.report.sections.{module}"), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ScfmError(
            f"sections.tsv: section '{row.name}' names no function: {row.function} is not in bin/scfm/report/sections"
            f" ({error})."
        ) from error


def build_report(data: ReportData, outdir: Path) -> None:
    """Write the sections and their order into ``outdir``, for ``write_page.py``."""
    title = data.params.get("report_title") or "Batch effect left in embeddings, and its cost to biology"
    write_modules(build_modules(data), outdir, title=str(title))
    log.info("wrote %d files for MultiQC", len(list(outdir.iterdir())))
