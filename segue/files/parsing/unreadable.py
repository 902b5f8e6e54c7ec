"""Why a file cannot be read: the one exception that leaves this folder."""

from __future__ import annotations

from segue.core.documents import Trouble


class Unreadable(Exception):
    """`trouble` is the cause as the service words it; `detail` is for the log, and quotes nothing of the file."""

    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        super().__init__(f"{trouble}: {detail}" if detail else trouble)
        self.trouble: Trouble = trouble
        self.detail = detail
