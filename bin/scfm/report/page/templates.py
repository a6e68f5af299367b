"""HTML of the report's sections from Jinja2 templates: whatever a template prints is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.report.page.html import number, percent, signed
from scfm.report.page.links import linked

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"


@cache
def _environment() -> "Environment":
    """Return the environment of all templates; an undefined name is an error, never an empty text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(number=number, signed=signed, percent=percent, linked=linked)
    return found


def render(template: str, /, **values: Any) -> "Markup":
    """Return the HTML of one template.

    Parameters
    ----------
    template
        File in ``report/templates``, such as ``verdict.html.j2``.
    values
        What the template prints. Texts are escaped; HTML made by another template is passed as ``markupsafe.Markup``.

    Raises
    ------
    jinja2.UndefinedError
        The template uses a name that is not in ``values``.
    """
    from markupsafe import Markup

    return Markup(_environment().get_template(template).render(**values))
