"""A batch: requests in an uploaded file, to be answered when there is time.

Laws: a `Batch` is a row of the store; it belongs to one workspace and is nothing to any other; times are in unix
seconds, 0 where it has not happened.  This file knows no protocol and no store.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from segue.core import frozen

BatchStatus = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]
OPEN: tuple[BatchStatus, ...] = ("validating", "in_progress", "finalizing", "cancelling")
"""There is still something to do."""


@frozen
class LineTrouble:
    """Why a batch was not begun: the line, from 1, and what is wrong with it."""

    code: str
    message: str
    line: int
    param: str = ""


@frozen
class Batch:
    """`key` is the public identifier of the key that created it.  Files are ids, "" where there is none."""

    id: str
    workspace: str
    key: str
    endpoint: str
    input_file: str
    span: str
    created_at: int
    expires_at: int
    status: BatchStatus = "validating"
    output_file: str = ""
    error_file: str = ""
    in_progress_at: int = 0
    finalizing_at: int = 0
    completed_at: int = 0
    failed_at: int = 0
    expired_at: int = 0
    cancelling_at: int = 0
    cancelled_at: int = 0
    total: int = 0
    completed: int = 0
    failed: int = 0
    troubles: tuple[LineTrouble, ...] = ()
    metadata: tuple[tuple[str, str], ...] = field(default=())
