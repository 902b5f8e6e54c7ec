"""Pictures that are shown to a model: a file to a data URI.

Law: what a file is, its first bytes say, not its name.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from segue.cli.conversation import Image
from segue.cli.terminal import Stop

_BYTES_MAX = 10 * 1024**2
_KINDS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"BM": "bmp"}


def picture(path: Path) -> Image:
    """The picture in the file.  Raises Stop."""
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise Stop(f"{path}: {error.strerror}") from error
    if len(data) > _BYTES_MAX:
        raise Stop(f"{path} is larger than {_BYTES_MAX // 1024**2} MiB: make it smaller first")
    kind = next((kind for mark, kind in _KINDS.items() if data.startswith(mark)), "")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "webp"
    if not kind:
        raise Stop(f"{path} is no picture that is known here: PNG, JPEG, GIF, WebP and BMP are")
    return Image(path.name, f"data:image/{kind};base64,{b64encode(data).decode()}")
