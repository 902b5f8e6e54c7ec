"""What a store can do, in our own verbs: rows of files and jobs, and the bytes that they speak of.

Laws: every question names its workspace, but for those of the house itself (jobs, sweeping, mending); what must be true
together is changed in one transaction: a file with its quota, its bytes and its job, the end of a job with the status
of its files; times are unix seconds and given by the caller.  A content is what has one SHA-256: its bytes are kept
once a workspace, and what was made of them is kept beside them.  This file knows no database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from segue.core import frozen
from segue.core.documents import File, Purpose, Trouble

BYTES = "bytes"
"""The kind of blob that holds a file as it came."""


class StoreUnusable(Exception):
    """The store cannot be opened.  The message says why and what to do."""


class BlobMissing(Exception):
    """There are no such bytes, or they are being removed."""


@frozen
class Content:
    """The bytes of one or several files of one workspace."""

    workspace: str
    sha256: str


@frozen
class Key:
    """What a blob is found by.  `kind` is `BYTES`, or names what was made of them and by which version."""

    content: Content
    kind: str


@frozen
class Quota:
    """What a workspace may keep."""

    files_max: int
    bytes_max: int


@frozen
class Job:
    """A content that is to be read as `form` (the ending of its name); `name` is a file's that has it.  `tries` counts
    the times it was begun, this one included."""

    id: int
    content: Content
    form: str
    name: str
    tries: int


@frozen
class Listed:
    """A page of files, newest first; `more` when there are others behind it."""

    files: tuple[File, ...]
    more: bool


class Files(Protocol):
    """The rows of files."""

    async def add(self, file: File, form: str, quota: Quota) -> File:
        """Keep a file, with the row of its bytes.  Where it is to be read: join it to what was already read of the
        same content and form, or to the job that reads it, or make that job.  Raises QuotaFull.  The file as it is
        now."""
        ...

    async def find(self, workspace: str, id: str) -> File | None:
        """One file."""
        ...

    async def gone(self, workspace: str, id: str) -> bool:
        """Whether such a file was deleted, and it is remembered."""
        ...

    async def page(
        self,
        workspace: str,
        after: str | None = None,
        limit: int = 2000,
        purpose: Purpose | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> Listed | None:
        """Files behind `after`, created at `since` to `until`, both included; temporary uploads are in no list.  None:
        there never was an `after`."""
        ...

    async def numbered(self, workspace: str, offset: int, limit: int) -> tuple[Sequence[File], int]:
        """Files from a place in the list, and how many there are in all."""
        ...

    async def old_uploads(self, before: float, limit: int) -> Sequence[tuple[str, str]]:
        """Workspace and id of temporary uploads that were made before."""
        ...

    async def remove(self, workspace: str, id: str, now: float, remembered_s: float) -> bool:
        """Forget a file but for its id, and for good what was removed `remembered_s` ago; and the job that reads it, if
        no other file wants it.  False: there is none."""
        ...

    async def progress(self, workspace: str, id: str) -> float:
        """How much of a file has been read, 0 to 1."""
        ...


class Jobs(Protocol):
    """What is to be read.  A job is held by one worker for as long as it says that it lives, and is another's after."""

    async def claim(self, holder: str, now: float, lease_s: float, tries_max: int) -> Job | None:
        """The oldest job that is nobody's and was begun less than `tries_max` times, from now on `holder`'s."""
        ...

    async def waiting(self, now: float, tries_max: int) -> bool:
        """Whether `claim` would find one."""
        ...

    async def renew(self, job: Job, holder: str, until: float, progress: float) -> bool:
        """Hold it longer.  False: it is no longer `holder`'s."""
        ...

    async def made(self, job: Job, holder: str, kind: str, bytes: int) -> bool:
        """The row of a blob that a job has made.  False: it is no longer `holder`'s, and the blob is nobody's."""
        ...

    async def release(self, job: Job, holder: str, until: float, tried: bool) -> None:
        """Give it back, to be begun again at `until`; if not `tried`, as if it had not been begun."""
        ...

    async def finish(self, job: Job, holder: str, tokens: int) -> bool:
        """It is done: its files are processed.  False: it was no longer `holder`'s."""
        ...

    async def fail(self, job: Job, holder: str, trouble: Trouble) -> bool:
        """It will never be done: its files have `trouble`.  False: it was no longer `holder`'s."""
        ...

    async def free(self, holders: Sequence[str]) -> int:
        """Take their jobs from holders who are no more; how many."""
        ...

    async def give_up(self, now: float, tries_max: int, trouble: Trouble) -> int:
        """Fail all jobs that were left alone in their last try; how many."""
        ...


class Kept(Protocol):
    """The rows of blobs, and what becomes of those that nobody needs."""

    async def kept(self) -> set[Key]:
        """Every blob that has a row."""
        ...

    async def kinds(self, content: Content) -> Sequence[str]:
        """The kinds of the blobs of one content."""
        ...

    async def needed(self, content: Content) -> bool:
        """Whether a file has it."""
        ...

    async def unneeded(self, limit: int) -> Sequence[Content]:
        """Contents with blobs that no file has any more."""
        ...

    async def forget(self, content: Content) -> None:
        """Forget the rows of an unneeded content's blobs."""
        ...

    async def mend(self, missing: Sequence[Key], wanted: Callable[[str], Sequence[str]]) -> int:
        """Forget the rows of blobs that are not there.  A file without its bytes has the trouble `parse`; one that was
        read, but lacks one of the kinds that are `wanted` of its form, is to be read again.  How many files changed."""
        ...


class Store(Files, Jobs, Kept, Protocol):
    """All of it, in one database."""


class Blobs(Protocol):
    """Bytes by key.  What is put is complete or not there at all, also after a crash."""

    def open(self) -> None:
        """Take the place where they are.  Raises StoreUnusable."""
        ...

    def look(self) -> str:
        """How it is, in a line, without `open` and leaving all as it is.  Raises StoreUnusable."""
        ...

    def changing(self, content: Content | None = None) -> AbstractAsyncContextManager[None]:
        """Everybody's lock around a change of which blobs there are and of the rows that say so: of one content, or of
        all."""
        ...

    async def put(self, key: Key, path: Path) -> None:
        """Take the file at `path` in, which is then gone from there."""
        ...

    async def local(self, key: Key) -> Path:
        """Where its bytes can be read and mapped; only while it is held, or within `changing`.  Raises BlobMissing,
        and StoreLost where they are elsewhere and cannot be had."""
        ...

    def holding(self, contents: Sequence[Content]) -> AbstractAsyncContextManager[None]:
        """What belongs to these contents, as far as it lies here or `local` has brought it here, is not deleted
        meanwhile, by anybody.  Raises BlobMissing for one that is being deleted."""
        ...

    async def delete(self, content: Content, kinds: Sequence[str]) -> bool:
        """Delete blobs of a content; within `changing`.  False: somebody holds it, nothing was deleted."""
        ...

    async def keys(self) -> set[Key]:
        """Every blob there is; within `changing`."""
        ...

    def scratch(self) -> Path:
        """A fresh path for a file that is to be put."""
        ...

    async def tidy(self) -> Sequence[str]:
        """Remove what processes that are no more have left half written; within `changing`.  The holders they were."""
        ...

    @property
    def holder(self) -> str:
        """This process, as no other is called."""
        ...

    def close(self) -> None:
        """Let go of every lock, and remove what was being written."""
        ...
