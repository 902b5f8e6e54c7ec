"""Bytes as they come, characters as they are complete.

Laws: the text is the same however the bytes were cut; bytes of an unfinished character wait; what
is not UTF-8 is dropped, never replaced: no U+FFFD is made here.
"""

from __future__ import annotations

from codecs import utf_8_decode


def decoded(data: bytes) -> tuple[str, bytes]:
    """The complete characters of `data`, and the bytes of the unfinished one at its end (at most 3)."""
    text, used = utf_8_decode(data, "ignore", False)
    return text, data[used:]
