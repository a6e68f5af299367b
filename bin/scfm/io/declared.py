"""Sizes that a file declares: compared with what the file holds, before memory is asked for."""

from __future__ import annotations

from scfm.errors import ScfmError

#: bytes up to which a declared size is taken as it is
ALWAYS = 2**30
#: most bytes that one stored byte becomes; deflate, the strongest compression of these formats, reaches 1,032
MOST_PER_BYTE = 2_000


def check_declared(declared: int, stored: int, name: str) -> None:
    """Refuse an array that declares far more than its file can hold.

    Parameters
    ----------
    declared
        Bytes of the array by its shape and kind.
    stored
        Bytes that the file has for it.
    name
        How messages call file and place.

    Raises
    ------
    ScfmError
        ``declared`` is above :data:`ALWAYS` and above :data:`MOST_PER_BYTE` times ``stored``.
    """
    if declared > ALWAYS and declared > MOST_PER_BYTE * stored:
        raise ScfmError(
            f"{name} declares {declared:,} bytes, and the file holds {stored:,} for it: no compression does that."
            " Nothing of it was read. The file is damaged or made to exhaust memory; write it again from its source."
        )
