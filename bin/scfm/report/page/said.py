"""Sections that say in sentences what a table or tabs of tables show."""

from __future__ import annotations

from collections.abc import Sequence

from scfm.report.page.mqc import Section
from scfm.report.page.templates import render


def said_section(key: str, name: str, sentences: Sequence[str], table: str, *, description: str) -> Section:
    """Return a section with sentences above a table; of many sentences the first are shown and the rest unfold.

    Parameters
    ----------
    key, name, description
        As in :class:`~scfm.report.page.mqc.Section`.
    sentences
        Texts, escaped by the template.
    table
        HTML of the table, or of tabs with tables; may be empty.
    """
    body = render("said_table.html.j2", sentences=sentences, table=table)
    return Section(key, name, "html", body, description=description)
