"""The one rule of what an Ensembl gene id is.

``ENS``, a species prefix of three or four letters (none for human), ``G``, eleven digits or more, then perhaps a
version (``.12``) and the mark of the copy on the Y chromosome (``_PAR_Y``; older releases write ``ENSGR``). Case does
not matter: some files have all names in lower case. The ids that Ensembl took over from FlyBase and WormBase count as
well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

#: Ensembl's species prefixes (between ENS and G), by the names the samplesheet may use
ORGANISM_PREFIX = {
    "human": "",
    "mouse": "MUS",
    "rat": "RNO",
    "zebrafish": "DAR",
    "pig": "SSC",
    "cow": "BTA",
    "chicken": "GAL",
    "macaque": "MMU",
    "marmoset": "CJA",
    "chimpanzee": "PTR",
    "rabbit": "OCU",
    "sheep": "OAR",
    "dog": "CAF",
    "frog": "XET",
}
_ORGANISM = {prefix: name for name, prefix in ORGANISM_PREFIX.items()}
_ID = re.compile(r"(?P<bare>ENS(?P<prefix>[A-Z]{3,4})?G(?:\d{11,}|R\d{10}))(?P<version>\.\d+)?(?P<copy>_PAR_Y)?", re.I)
_TAKEN_OVER = re.compile(r"FBgn\d{7}|WBGene\d{8}", re.IGNORECASE)


def is_ensembl(text: str) -> bool:
    """Tell whether a text is an Ensembl gene id.

    Examples
    --------
    >>> [is_ensembl(t) for t in ("ENSG00000182378.14_PAR_Y", "ensmusg00000023274", "FBgn0000003", "ENST00000456328")]
    [True, True, True, False]
    """
    return bool(_ID.fullmatch(text) or _TAKEN_OVER.fullmatch(text))


def prefix_of(text: str) -> str | None:
    """Return the species prefix of an id in upper case, empty for human; None for a text without one."""
    found = _ID.fullmatch(text)
    return (found["prefix"] or "").upper() if found else None


def without_version(text: str) -> str:
    """Return an Ensembl gene id without its version, any other text unchanged (the same object).

    The mark of the copy on the Y chromosome stays: it is another gene than the one on X.

    Examples
    --------
    >>> [without_version(t) for t in ("ENSG00000141510.18", "AC012345.1", "ENSG00000182378.14_PAR_Y")]
    ['ENSG00000141510', 'AC012345.1', 'ENSG00000182378_PAR_Y']
    """
    found = _ID.fullmatch(text)
    return found["bare"] + (found["copy"] or "") if found and found["version"] else text


def canonical(text: str) -> str:
    """Return an Ensembl gene id as vocabularies write it: in upper case, without a version; other texts unchanged.

    Examples
    --------
    >>> canonical("ensg00000141510.18")
    'ENSG00000141510'
    """
    return without_version(text).upper() if _ID.fullmatch(text) else text


def main_prefix(texts: Iterable[str]) -> tuple[str | None, int]:
    """Return the commonest species prefix and how many ids have it; (None, 0) where no text is an id with a prefix."""
    counts = Counter(prefix for text in texts if (prefix := prefix_of(text)) is not None)
    return counts.most_common(1)[0] if counts else (None, 0)


def organism_of(texts: Iterable[str]) -> str:
    """Return the organism that most Ensembl ids belong to; empty where there are none or the prefix is unknown."""
    prefix, _ = main_prefix(str(text).strip() for text in texts)
    return organism_with(prefix) if prefix is not None else ""


def organism_with(prefix: str) -> str:
    """Return the organism with a species prefix; empty where it is unknown."""
    return _ORGANISM.get(prefix, "")
