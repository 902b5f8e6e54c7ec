"""What a file is called, from what its sender wrote.

Laws: a name is one line without control characters, without a path and of bounded length, and never empty; its ending
stays, since it says what the file is.  Nothing on this machine is ever called by it.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_to_bytes

NAME_CHARS_MAX = 255
UNNAMED = "file"

_ENDING_CHARS_MAX = 16
# `; name=token`, `; name="quoted"`, `; name*=charset'language'percent-encoded`
_PARAMETER = re.compile(rb';[ \t]*([^\s=;"]{1,64})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)
_CONTINUED = re.compile(rb"filename\*(\d{1,3})(\*?)")


def parameters(disposition: bytes) -> dict[bytes, bytes]:
    """The parameters of a Content-Disposition, by lower-case name, the first of each; quotes are taken off."""
    found: dict[bytes, bytes] = {}
    for match in _PARAMETER.finditer(disposition):
        value = match[2].strip()
        if value[:1] == b'"' and len(value) > 1:
            # Browsers escape a quote and nothing else, so a lone backslash is one.
            value = value[1:-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\")
        found.setdefault(match[1].lower(), value)
    return found


def file_name(given: dict[bytes, bytes]) -> str | None:
    """The name of a file among the parameters; None: it has none, so it is no file.

    RFC 5987's form goes before the plain one; RFC 2231 cuts a long one in pieces, and RFC 7578 forbids both, which
    some clients do not know.
    """
    if (extended := given.get(b"filename*")) is not None:
        return sane(_extended(extended))
    pieces: dict[int, tuple[bytes, bool]] = {}
    for key, value in given.items():
        if piece := _CONTINUED.fullmatch(key):
            pieces[int(piece[1])] = (value, bool(piece[2]))
    if 0 in pieces:
        charset, joined = "utf-8", b""
        for number in range(len(pieces)):
            value, encoded = pieces.get(number, (b"", False))
            if number == 0 and encoded and value.count(b"'") >= 2:
                name, _, value = value.split(b"'", 2)
                charset = name.decode("latin-1")
            joined += unquote_to_bytes(value) if encoded else value
        return sane(_text(joined, charset))
    plain = given.get(b"filename")
    if plain is None:
        return None
    # HTML writes a quote and a line's end as `%22`, `%0D` and `%0A`, and nothing else.
    return sane(_text(plain, "utf-8").replace("%22", '"').replace("%0D", " ").replace("%0A", " "))


def sane(name: str) -> str:
    """The name without its path, in one line, at most `NAME_CHARS_MAX` characters."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    # Cc, Cf, Cs, Co, Cn: control and format characters, among them those that turn a line's direction.
    name = "".join(char for char in name if unicodedata.category(char)[0] != "C" and char not in "\u2028\u2029")
    name = name.strip()
    if not name.strip("."):
        return UNNAMED
    if len(name) <= NAME_CHARS_MAX:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or not stem or len(ending) > _ENDING_CHARS_MAX:
        return name[:NAME_CHARS_MAX].rstrip()
    return stem[: NAME_CHARS_MAX - len(ending) - 1].rstrip() + dot + ending


def _extended(value: bytes) -> str:
    charset, _, rest = value.partition(b"'")
    _, found, encoded = rest.partition(b"'")
    if not found:
        return _text(unquote_to_bytes(value), "utf-8")
    return _text(unquote_to_bytes(encoded), charset.decode("latin-1"))


def _text(data: bytes, charset: str) -> str:
    """In the given character set, else the likely ones."""
    for each in (charset if charset.lower() in ("utf-8", "gb18030", "gbk", "iso-8859-1") else "utf-8", "gb18030"):
        try:
            return data.decode(each)
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", "replace")
