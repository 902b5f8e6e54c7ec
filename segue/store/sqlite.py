"""The store in one SQLite file.

Laws: one thread of its own does all that touches the database, so that the event loop never waits for a disk; a change
is one `BEGIN IMMEDIATE` transaction and is on the disk when it returns; other processes may have the same file open.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from segue.core.documents import File, Purpose, Trouble
from segue.core.errors import QuotaFull
from segue.store.base import BYTES, Content, Job, Key, Listed, Quota, StoreUnusable
from segue.store.migrations import migrate

T = TypeVar("T")

_LOCKED_MAX_S = 30.0
_SYNCHRONOUS = "FULL"  # a commit is on the disk when it returns
_COLUMNS = "id, workspace, name, bytes, sha256, md5, purpose, created_at, status, trouble, tokens, description"
# A holder may begin the same job again, when its lease had run out unnoticed: then `tries` tells the two apart.
_OURS = "id = ? AND holder = ? AND tries = ?"


class SqliteStore:
    """The store at `path`; see `base.Store`.  Open it first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "segue-store")
        self._opened: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Make it, or bring it up to date.  Raises StoreUnusable."""
        self._opened = await self._in_thread(lambda: _connected(self._path))

    async def close(self) -> None:
        """Let go of it.  Safe to call twice, or without `open`."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await self._in_thread(opened.close)
        self._thread.shutdown()

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._opened is not None, "open it first"
        return self._opened

    # Files

    async def add(self, file: File, form: str, quota: Quota) -> File:
        """See `base.Files`."""
        return await self._changed(lambda: self._add(file, form, quota))

    def _add(self, file: File, form: str, quota: Quota) -> File:
        content = (file.workspace, file.sha256)
        held = "SELECT count(*), coalesce(sum(bytes), 0) FROM files WHERE workspace = ?"
        files, size = self._one(held, file.workspace)
        if files >= quota.files_max:
            raise QuotaFull("files", quota.files_max)
        if size + file.bytes > quota.bytes_max:
            raise QuotaFull("bytes", quota.bytes_max)
        if file.status == "processing":
            read = "SELECT tokens FROM files WHERE workspace = ? AND sha256 = ? AND form = ? AND status = 'processed'"
            known = self._run(read + " AND purpose = 'file-extract' LIMIT 1", *content, form).fetchone()
            if known:
                file = replace(file, status="processed", tokens=known[0])
            else:
                job = "INSERT OR IGNORE INTO jobs (workspace, sha256, form, name) VALUES (?, ?, ?, ?)"
                self._run(job, *content, form, file.name)
        self._run("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?)", *content, BYTES, file.bytes)
        self._run(
            f"INSERT INTO files ({_COLUMNS}, form) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            file.id,
            file.workspace,
            file.name,
            file.bytes,
            file.sha256,
            file.md5,
            file.purpose,
            file.created_at,
            file.status,
            file.trouble,
            file.tokens,
            file.description,
            form,
        )
        return file

    async def find(self, workspace: str, id: str) -> File | None:
        """See `base.Files`."""
        files = await self._in_thread(lambda: self._files("workspace = ? AND id = ?", workspace, id))
        return files[0] if files else None

    async def gone(self, workspace: str, id: str) -> bool:
        """See `base.Files`."""
        sql = "SELECT 1 FROM removed WHERE workspace = ? AND id = ?"
        return await self._in_thread(lambda: self._run(sql, workspace, id).fetchone()) is not None

    async def page(
        self,
        workspace: str,
        after: str | None = None,
        limit: int = 2000,
        purpose: Purpose | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> Listed | None:
        """See `base.Files`."""

        def found() -> Listed | None:
            terms = ["workspace = ?"]
            values: list[str | int] = [workspace]
            if after is not None:
                place = self._place(workspace, after)
                if place is None:
                    return None
                terms, values = [*terms, "place < ?"], [*values, place]
            wishes = (("purpose = ?", purpose), ("created_at >= ?", since), ("created_at <= ?", until))
            for term, value in wishes:
                if value is not None:
                    terms, values = [*terms, term], [*values, value]
            files = self._files(" AND ".join(terms) + " ORDER BY place DESC LIMIT ?", *values, limit + 1)
            return Listed(tuple(files[:limit]), len(files) > limit)

        return await self._in_thread(found)

    def _place(self, workspace: str, id: str) -> int | None:
        for table in ("files", "removed"):
            sql = f"SELECT place FROM {table} WHERE workspace = ? AND id = ?"
            if (row := self._run(sql, workspace, id).fetchone()) is not None:
                return int(row[0])
        return None

    async def numbered(self, workspace: str, offset: int, limit: int) -> tuple[Sequence[File], int]:
        """See `base.Files`."""

        def found() -> tuple[Sequence[File], int]:
            files = self._files("workspace = ? ORDER BY place DESC LIMIT ? OFFSET ?", workspace, limit, offset)
            return files, self._one("SELECT count(*) FROM files WHERE workspace = ?", workspace)[0]

        return await self._in_thread(found)

    async def remove(self, workspace: str, id: str, now: float, remembered_s: float) -> bool:
        """See `base.Files`."""

        def removed() -> bool:
            place = "SELECT sha256, form, place FROM files WHERE workspace = ? AND id = ?"
            row = self._run(place, workspace, id).fetchone()
            if row is None:
                return False
            sha256, form, seq = row
            self._run("DELETE FROM files WHERE workspace = ? AND id = ?", workspace, id)
            self._run("INSERT OR REPLACE INTO removed VALUES (?, ?, ?, ?)", workspace, id, seq, now)
            self._run("DELETE FROM removed WHERE removed_at < ?", now - remembered_s)
            wanted = "SELECT 1 FROM files f WHERE f.workspace = jobs.workspace AND f.sha256 = jobs.sha256"
            self._run(
                "DELETE FROM jobs WHERE workspace = ? AND sha256 = ? AND form = ?"
                f" AND NOT EXISTS ({wanted} AND f.form = jobs.form AND f.status = 'processing')",
                workspace,
                sha256,
                form,
            )
            return True

        return await self._changed(removed)

    async def progress(self, workspace: str, id: str) -> float:
        """See `base.Files`."""
        sql = (
            "SELECT f.status, j.progress FROM files f LEFT JOIN jobs j ON j.workspace = f.workspace"
            " AND j.sha256 = f.sha256 AND j.form = f.form WHERE f.workspace = ? AND f.id = ?"
        )
        row = await self._in_thread(lambda: self._run(sql, workspace, id).fetchone())
        if row is None or row[0] == "error":
            return 0.0
        return 1.0 if row[0] == "processed" else float(row[1] or 0.0)

    # Jobs

    async def claim(self, holder: str, now: float, lease_s: float, tries_max: int) -> Job | None:
        """See `base.Jobs`."""

        def claimed() -> Job | None:
            row = self._run(
                "UPDATE jobs SET holder = ?, until = ?, tries = tries + 1, progress = 0 WHERE id ="
                " (SELECT id FROM jobs WHERE until <= ? AND tries < ? ORDER BY id LIMIT 1)"
                " RETURNING id, workspace, sha256, form, name, tries",
                holder,
                now + lease_s,
                now,
                tries_max,
            ).fetchone()
            return None if row is None else Job(row[0], Content(row[1], row[2]), *row[3:])

        return await self._changed(claimed)

    async def waiting(self, now: float, tries_max: int) -> bool:
        """See `base.Jobs`."""
        sql = "SELECT 1 FROM jobs WHERE until <= ? AND tries < ? LIMIT 1"
        return await self._in_thread(lambda: self._run(sql, now, tries_max).fetchone()) is not None

    async def renew(self, job: Job, holder: str, until: float, progress: float) -> bool:
        """See `base.Jobs`."""
        sql = f"UPDATE jobs SET until = ?, progress = ? WHERE {_OURS}"
        return await self._changed(lambda: self._run(sql, until, progress, job.id, holder, job.tries).rowcount > 0)

    async def made(self, job: Job, holder: str, kind: str, bytes: int) -> bool:
        """See `base.Jobs`."""

        def kept() -> bool:
            if not self._held(job, holder):
                return False
            content = job.content
            self._run(
                "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?)", content.workspace, content.sha256, kind, bytes
            )
            return True

        return await self._changed(kept)

    async def release(self, job: Job, holder: str, until: float, tried: bool) -> None:
        """See `base.Jobs`."""
        sql = f"UPDATE jobs SET holder = NULL, until = ?, tries = tries - ?, progress = 0 WHERE {_OURS}"
        await self._changed(lambda: self._run(sql, until, 0 if tried else 1, job.id, holder, job.tries))

    async def finish(self, job: Job, holder: str, tokens: int) -> bool:
        """See `base.Jobs`."""
        change = "status = 'processed', trouble = NULL, tokens = ?"
        return await self._changed(lambda: self._held(job, holder) and self._end(job, change, tokens))

    async def fail(self, job: Job, holder: str, trouble: Trouble) -> bool:
        """See `base.Jobs`."""
        change = "status = 'error', trouble = ?"
        return await self._changed(lambda: self._held(job, holder) and self._end(job, change, trouble))

    async def free(self, holders: Sequence[str]) -> int:
        """See `base.Jobs`."""
        marks = ", ".join("?" * len(holders))
        sql = f"UPDATE jobs SET holder = NULL, until = 0 WHERE holder IN ({marks})"
        return await self._changed(lambda: self._run(sql, *holders).rowcount)

    async def give_up(self, now: float, tries_max: int, trouble: Trouble) -> int:
        """See `base.Jobs`."""

        def given_up() -> int:
            sql = "SELECT id, workspace, sha256, form, name, tries FROM jobs WHERE until <= ? AND tries >= ?"
            rows = self._run(sql, now, tries_max).fetchall()
            for row in rows:
                job = Job(row[0], Content(row[1], row[2]), *row[3:])
                self._end(job, "status = 'error', trouble = ?", trouble)
            return len(rows)

        return await self._changed(given_up)

    def _held(self, job: Job, holder: str) -> bool:
        return self._run(f"SELECT 1 FROM jobs WHERE {_OURS}", job.id, holder, job.tries).fetchone() is not None

    def _end(self, job: Job, change: str, value: object) -> bool:
        where = "workspace = ? AND sha256 = ? AND form = ? AND status = 'processing'"
        content = job.content
        self._run(f"UPDATE files SET {change} WHERE {where}", value, content.workspace, content.sha256, job.form)
        self._run("DELETE FROM jobs WHERE id = ?", job.id)
        return True

    # Blobs

    async def kept(self) -> set[Key]:
        """See `base.Kept`."""
        rows = await self._in_thread(lambda: self._run("SELECT workspace, sha256, kind FROM blobs").fetchall())
        return {Key(Content(*row[:2]), row[2]) for row in rows}

    async def kinds(self, content: Content) -> Sequence[str]:
        """See `base.Kept`."""
        sql = "SELECT kind FROM blobs WHERE workspace = ? AND sha256 = ?"
        rows = await self._in_thread(lambda: self._run(sql, content.workspace, content.sha256).fetchall())
        return [row[0] for row in rows]

    async def needed(self, content: Content) -> bool:
        """See `base.Kept`."""
        sql = "SELECT 1 FROM files WHERE workspace = ? AND sha256 = ? LIMIT 1"
        row = await self._in_thread(lambda: self._run(sql, content.workspace, content.sha256).fetchone())
        return row is not None

    async def unneeded(self, limit: int) -> Sequence[Content]:
        """See `base.Kept`."""
        sql = f"SELECT DISTINCT workspace, sha256 FROM blobs WHERE NOT EXISTS {_WANTED} LIMIT ?"
        rows = await self._in_thread(lambda: self._run(sql, limit).fetchall())
        return [Content(*row) for row in rows]

    async def forget(self, content: Content) -> None:
        """See `base.Kept`."""
        sql = f"DELETE FROM blobs WHERE workspace = ? AND sha256 = ? AND NOT EXISTS {_WANTED}"
        await self._changed(lambda: self._run(sql, content.workspace, content.sha256))

    async def mend(self, missing: Sequence[Key], wanted: Callable[[str], Sequence[str]]) -> int:
        """See `base.Kept`."""
        return await self._changed(lambda: self._mend(missing, wanted))

    def _mend(self, missing: Sequence[Key], wanted: Callable[[str], Sequence[str]]) -> int:
        changed = 0
        for key in missing:
            content = (key.content.workspace, key.content.sha256)
            self._run("DELETE FROM blobs WHERE workspace = ? AND sha256 = ? AND kind = ?", *content, key.kind)
            if key.kind == BYTES:
                lost = "UPDATE files SET status = 'error', trouble = 'parse' WHERE workspace = ? AND sha256 = ?"
                changed += self._run(lost, *content).rowcount
                self._run("DELETE FROM jobs WHERE workspace = ? AND sha256 = ?", *content)
        job = "INSERT OR IGNORE INTO jobs (workspace, sha256, form, name)"
        self._run(f"{job} SELECT workspace, sha256, form, name FROM files WHERE status = 'processing'")
        read = "FROM files f WHERE status = 'processed' AND purpose = 'file-extract'"
        for form in [row[0] for row in self._run(f"SELECT DISTINCT form {read}").fetchall()]:
            kinds = wanted(form)
            marks = ", ".join("?" * len(kinds))
            have = "SELECT count(*) FROM blobs b WHERE b.workspace = f.workspace AND b.sha256 = f.sha256"
            lacking = f"{read} AND form = ? AND ({have} AND b.kind IN ({marks})) < ?"
            again = f"SELECT workspace, sha256, form, name {lacking} GROUP BY workspace, sha256"
            rows = self._run(again, form, *kinds, len(kinds)).fetchall()
            for row in rows:
                self._run(f"{job} VALUES (?, ?, ?, ?)", *row)
                sql = "UPDATE files SET status = 'processing' WHERE workspace = ? AND sha256 = ? AND form = ?"
                changed += self._run(f"{sql} AND status = 'processed'", *row[:3]).rowcount
        return changed

    # The thread

    def _run(self, sql: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(sql, values)

    def _one(self, sql: str, *values: object) -> tuple[int, ...]:
        row: tuple[int, ...] = self._run(sql, *values).fetchone()
        return row

    def _files(self, where: str, *values: object) -> list[File]:
        return [File(*row) for row in self._run(f"SELECT {_COLUMNS} FROM files WHERE {where}", *values).fetchall()]

    async def _in_thread(self, does: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, does)

    async def _changed(self, does: Callable[[], T]) -> T:
        """`does`, whole or not at all."""

        def whole() -> T:
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = does()
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has ended it already
                    connection.execute("ROLLBACK")
                raise
            return result

        return await self._in_thread(whole)


_WANTED = "(SELECT 1 FROM files f WHERE f.workspace = blobs.workspace AND f.sha256 = blobs.sha256)"


def _connected(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(path, _LOCKED_MAX_S, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnusable(f"{path} cannot be opened: {error}. Set SEGUE_FILES_DIR.") from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS}")
        migrate(connection)
    except (sqlite3.Error, StoreUnusable) as error:
        connection.close()
        raise StoreUnusable(f"{path} cannot be used: {error}") from error
    return connection
