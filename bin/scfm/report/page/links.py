"""Links from texts to the published tables."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from scfm.registries.tables import load_tables, table_of_message

if TYPE_CHECKING:
    from markupsafe import Markup

#: where every message is, with its values and thresholds
MESSAGES = "warnings.json"
_MENTION = re.compile(r"\btables/([a-z_]+[.]tsv|warnings[.]json)")


@cache
def _files() -> frozenset[str]:
    """Return the names of the published tables."""
    return frozenset([MESSAGES, *(f"{name}.tsv" for name in load_tables())])


def file_of_message(code: str) -> str:
    """Return the published file with the values behind a message.

    Examples
    --------
    >>> file_of_message("W-RES-01"), file_of_message("W-IN-07")
    ('residual.tsv', 'warnings.json')
    """
    name = table_of_message(code, load_tables())
    return f"{name}.tsv" if name else MESSAGES


def linked(text: str, file: str = "") -> "Markup":
    """Return a text, escaped, in which mentions of published tables are links.

    Parameters
    ----------
    text
        The text.
    file
        A published file that is linked behind the text unless the text mentions it.
    """
    from markupsafe import Markup, escape

    parts, end, mentioned = [], 0, set()
    for found in _MENTION.finditer(text):
        if found[1] in _files():
            parts += [escape(text[end : found.start()]), _link(found[1])]
            end = found.end()
            mentioned.add(found[1])
    parts.append(escape(text[end:]))
    if file and file not in mentioned:
        parts += [Markup(" "), _link(file)]
    return Markup("").join(parts)


def _link(file: str) -> "Markup":
    """Return the link to a published file."""
    from markupsafe import Markup

    return Markup('<a href="../tables/{0}">tables/{0}</a>').format(file)
