"""MultiQC custom content: sections as JSON files, and the configuration that orders them."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError


@dataclass
class Section:
    """One section of the report.

    Parameters
    ----------
    key
        Identifier within its module, in snake case.
    name
        Heading.
    plot_type
        ``html``, ``table``, ``heatmap``, ``bargraph``, ``scatter`` or ``linegraph``.
    data
        What MultiQC's plot of that type takes; text for ``html``.
    description
        A sentence or two under the heading (HTML).
    options
        Plot options (``pconfig``).
    extra
        Other keys of the custom content (``headers``, ``xcats``, ``ycats``, ``categories``).
    dataset
        Data set that it is about; empty for the whole run.
    table
        Published table with its numbers; empty where there is none.
    """

    key: str
    name: str
    plot_type: str
    data: Any
    description: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    dataset: str = ""
    table: str = ""


@dataclass
class Module:
    """A chapter of the report: several sections under one heading of the menu.

    ``description`` must not be empty: MultiQC would put that of a section there.
    """

    key: str
    name: str
    sections: list[Section]
    description: str
    folded: bool = False


def slug(text: str) -> str:
    """Return a text as an identifier: letters, digits and underscores.

    Examples
    --------
    >>> slug("PBMC 3' v2")
    'PBMC_3_v2'
    """
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")


def write_modules(modules: list[Module], outdir: Path, *, title: str) -> None:
    """Write one ``*_mqc.json`` per section, and ``scfmbench_order.yml``, the configuration that orders them.

    MultiQC sorts custom content by name; the order that a reader needs is given to it in the configuration, and so is
    ``scfm_layout``, which the page's template reads: folded chapters, and data set and table of each section. Modules
    and sections without content are left out.
    """
    import yaml

    outdir.mkdir(parents=True, exist_ok=True)
    modules = [m for m in modules if m.sections]
    order: dict[str, dict[str, int]] = {}
    layout: dict[str, Any] = {"folded": [], "sections": {}}
    for number, module in enumerate(modules):
        module_id = f"scfmbench_{slug(module.key)}"
        order[module_id] = {"order": (len(modules) - number) * 1000}
        layout["folded"] += [module_id] if module.folded else []
        for place, section in enumerate(module.sections, start=1):
            section_id = f"{module_id}_{slug(section.key)}"
            if section_id in order:
                raise ScfmError(
                    f"Two sections of the report have the id '{section_id}'; keys must differ in a chapter."
                )
            order[section_id] = {"order": place}
            layout["sections"][section_id] = {"dataset": section.dataset, "table": section.table}
            content = _custom_content(module, module_id, section, section_id)
            # not write_json: the order of rows and columns carries meaning here
            (outdir / f"{section_id}_mqc.json").write_text(json.dumps(content, ensure_ascii=False, allow_nan=False))
    config = {
        "title": html.escape(title),  # MultiQC writes it into the page as it is
        "report_section_order": order,
        "scfm_layout": layout,
        "custom_content": {"order": [f"scfmbench_{slug(m.key)}" for m in modules]},
    }
    (outdir / "scfmbench_order.yml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def _custom_content(module: Module, module_id: str, section: Section, section_id: str) -> dict[str, Any]:
    """Return what MultiQC reads for one section."""
    content = {
        "id": section_id,
        "section_name": section.name,
        "parent_id": module_id,
        "parent_name": module.name,
        "parent_description": module.description,
        "description": section.description,
        "plot_type": section.plot_type,
        "data": section.data,
        **section.extra,
    }
    if section.plot_type != "html":
        content["pconfig"] = {"id": f"{section_id}_plot", "title": f"{module.name}: {section.name}", **section.options}
    return content
