"""The rows of files, of jobs and of blobs, in any database.

Laws: see `base`; what must be true together is one change of the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from segue.core.documents import File, Purpose, Trouble
from segue.core.errors import AlreadyThere, QuotaFull
from segue.store.base import BYTES, Content, Job, Key, Listed, Quota
from segue.store.database import Database, Rows, Value

T = TypeVar("T")

_COLUMNS = "id, workspace, name, bytes, sha256, md5, purpose, created_at, status, trouble, tokens, description"
# A holder may begin the same job again, when its lease had run out unnoticed: then `tries` tells the two apart.
_OURS = "id = ? AND holder = ? AND tries = ?"
_JOB = "INSERT INTO jobs (workspace, sha256, form, name)"
_LISTED = "purpose <> 'upload'"
_WANTED = "(SELECT 1 FROM files f WHERE f.workspace = blobs.workspace AND f.sha256 = blobs.sha256)"


class FilesStore:
    """The store in `database`, which somebody else opens and closes; see `base.Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Files

    async def add(self, file: File, form: str, quota: Quota) -> File:
        """See `base.Files`."""
        return await self._change(file.workspace, lambda rows: _add(rows, file, form, quota))

    async def find(self, workspace: str, id: str) -> File | None:
        """See `base.Files`."""
        files = await self._read(lambda rows: _files(rows, "workspace = ? AND id = ?", workspace, id))
        return files[0] if files else None

    async def gone(self, workspace: str, id: str) -> bool:
        """See `base.Files`."""
        sql = "SELECT 1 FROM removed WHERE workspace = ? AND id = ?"
        return await self._read(lambda rows: rows.one(sql, workspace, id)) is not None

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

        def found(rows: Rows) -> Listed | None:
            terms = ["workspace = ?", _LISTED]
            values: list[Value] = [workspace]
            if after is not None:
                place = _place(rows, workspace, after)
                if place is None:
                    return None
                terms, values = [*terms, "place < ?"], [*values, place]
            wishes = (("purpose = ?", purpose), ("created_at >= ?", since), ("created_at <= ?", until))
            for term, value in wishes:
                if value is not None:
                    terms, values = [*terms, term], [*values, value]
            files = _files(rows, " AND ".join(terms) + " ORDER BY place DESC LIMIT ?", *values, limit + 1)
            return Listed(tuple(files[:limit]), len(files) > limit)

        return await self._read(found)

    async def numbered(self, workspace: str, offset: int, limit: int) -> tuple[Sequence[File], int]:
        """See `base.Files`."""

        def found(rows: Rows) -> tuple[Sequence[File], int]:
            where = f"workspace = ? AND {_LISTED}"
            files = _files(rows, f"{where} ORDER BY place DESC LIMIT ? OFFSET ?", workspace, limit, offset)
            return files, _count(rows, f"SELECT count(*) FROM files WHERE {where}", workspace)

        return await self._read(found)

    async def old_uploads(self, before: float, limit: int) -> Sequence[tuple[str, str]]:
        """See `base.Files`."""
        sql = "SELECT workspace, id FROM files WHERE purpose = 'upload' AND created_at < ? ORDER BY place LIMIT ?"
        return [(row[0], row[1]) for row in await self._read(lambda rows: rows.all(sql, before, limit))]

    async def remove(self, workspace: str, id: str, now: float, remembered_s: float) -> bool:
        """See `base.Files`."""

        def removed(rows: Rows) -> bool:
            row = rows.one("SELECT sha256, form, place FROM files WHERE workspace = ? AND id = ?", workspace, id)
            if row is None:
                return False
            sha256, form, place = row
            rows.run("DELETE FROM files WHERE workspace = ? AND id = ?", workspace, id)
            rows.run(
                "INSERT INTO removed VALUES (?, ?, ?, ?) ON CONFLICT (workspace, id)"
                " DO UPDATE SET place = excluded.place, removed_at = excluded.removed_at",
                workspace,
                id,
                place,
                now,
            )
            rows.run("DELETE FROM removed WHERE removed_at < ?", now - remembered_s)
            wanted = "SELECT 1 FROM files f WHERE f.workspace = jobs.workspace AND f.sha256 = jobs.sha256"
            rows.run(
                "DELETE FROM jobs WHERE workspace = ? AND sha256 = ? AND form = ?"
                f" AND NOT EXISTS ({wanted} AND f.form = jobs.form AND f.status = 'processing')",
                workspace,
                sha256,
                form,
            )
            return True

        return await self._change(workspace, removed)

    async def progress(self, workspace: str, id: str) -> float:
        """See `base.Files`."""
        sql = (
            "SELECT f.status, j.progress FROM files f LEFT JOIN jobs j ON j.workspace = f.workspace"
            " AND j.sha256 = f.sha256 AND j.form = f.form WHERE f.workspace = ? AND f.id = ?"
        )
        row = await self._read(lambda rows: rows.one(sql, workspace, id))
        if row is None or row[0] == "error":
            return 0.0
        return 1.0 if row[0] == "processed" else float(row[1] or 0.0)

    # Jobs

    async def claim(self, holder: str, now: float, lease_s: float, tries_max: int) -> Job | None:
        """See `base.Jobs`."""

        def claimed(rows: Rows) -> Job | None:
            row = rows.one(
                "UPDATE jobs SET holder = ?, until = ?, tries = tries + 1, progress = 0 WHERE until <= ? AND id ="
                " (SELECT id FROM jobs WHERE until <= ? AND tries < ? ORDER BY id LIMIT 1)"
                " RETURNING id, workspace, sha256, form, name, tries",
                holder,
                now + lease_s,
                now,
                now,
                tries_max,
            )
            return None if row is None else _job(row)

        return await self._database.change(claimed, "claims")

    async def waiting(self, now: float, tries_max: int) -> bool:
        """See `base.Jobs`."""
        sql = "SELECT 1 FROM jobs WHERE until <= ? AND tries < ? LIMIT 1"
        return await self._read(lambda rows: rows.one(sql, now, tries_max)) is not None

    async def renew(self, job: Job, holder: str, until: float, progress: float) -> bool:
        """See `base.Jobs`."""
        sql = f"UPDATE jobs SET until = ?, progress = ? WHERE {_OURS}"
        return await self._of(job, lambda rows: rows.run(sql, until, progress, job.id, holder, job.tries) > 0)

    async def made(self, job: Job, holder: str, kind: str, bytes: int) -> bool:
        """See `base.Jobs`."""

        def kept(rows: Rows) -> bool:
            if not _held(rows, job, holder):
                return False
            rows.run(
                "INSERT INTO blobs VALUES (?, ?, ?, ?) ON CONFLICT (workspace, sha256, kind)"
                " DO UPDATE SET bytes = excluded.bytes",
                job.content.workspace,
                job.content.sha256,
                kind,
                bytes,
            )
            return True

        return await self._of(job, kept)

    async def release(self, job: Job, holder: str, until: float, tried: bool) -> None:
        """See `base.Jobs`."""
        sql = f"UPDATE jobs SET holder = NULL, until = ?, tries = tries - ?, progress = 0 WHERE {_OURS}"
        await self._of(job, lambda rows: rows.run(sql, until, 0 if tried else 1, job.id, holder, job.tries))

    async def finish(self, job: Job, holder: str, tokens: int) -> bool:
        """See `base.Jobs`."""
        change = "status = 'processed', trouble = NULL, tokens = ?"
        return await self._of(job, lambda rows: _held(rows, job, holder) and _end(rows, job, change, tokens))

    async def fail(self, job: Job, holder: str, trouble: Trouble) -> bool:
        """See `base.Jobs`."""
        change = "status = 'error', trouble = ?"
        return await self._of(job, lambda rows: _held(rows, job, holder) and _end(rows, job, change, trouble))

    async def free(self, holders: Sequence[str]) -> int:
        """See `base.Jobs`."""
        marks = ", ".join("?" * len(holders))
        sql = f"UPDATE jobs SET holder = NULL, until = 0 WHERE holder IN ({marks})"
        return await self._database.change(lambda rows: rows.run(sql, *holders))

    async def give_up(self, now: float, tries_max: int, trouble: Trouble) -> int:
        """See `base.Jobs`."""
        left = "until <= ? AND tries >= ?"
        sql = f"SELECT 1 FROM jobs WHERE {left} LIMIT 1"
        if await self._read(lambda rows: rows.one(sql, now, tries_max)) is None:
            return 0  # as nearly always; the change would keep all others waiting

        def given_up(rows: Rows) -> int:
            jobs = rows.all(f"SELECT id, workspace, sha256, form, name, tries FROM jobs WHERE {left}", now, tries_max)
            for row in jobs:
                _end(rows, _job(row), "status = 'error', trouble = ?", trouble)
            return len(jobs)

        return await self._database.change(given_up)

    # Blobs

    async def kept(self) -> set[Key]:
        """See `base.Kept`."""
        rows = await self._read(lambda rows: rows.all("SELECT workspace, sha256, kind FROM blobs"))
        return {Key(Content(*row[:2]), row[2]) for row in rows}

    async def kinds(self, content: Content) -> Sequence[str]:
        """See `base.Kept`."""
        sql = "SELECT kind FROM blobs WHERE workspace = ? AND sha256 = ?"
        rows = await self._read(lambda rows: rows.all(sql, content.workspace, content.sha256))
        return [row[0] for row in rows]

    async def needed(self, content: Content) -> bool:
        """See `base.Kept`."""
        sql = "SELECT 1 FROM files WHERE workspace = ? AND sha256 = ? LIMIT 1"
        return await self._read(lambda rows: rows.one(sql, content.workspace, content.sha256)) is not None

    async def unneeded(self, limit: int) -> Sequence[Content]:
        """See `base.Kept`."""
        sql = f"SELECT DISTINCT workspace, sha256 FROM blobs WHERE NOT EXISTS {_WANTED} LIMIT ?"
        return [Content(*row) for row in await self._read(lambda rows: rows.all(sql, limit))]

    async def forget(self, content: Content) -> None:
        """See `base.Kept`."""
        sql = f"DELETE FROM blobs WHERE workspace = ? AND sha256 = ? AND NOT EXISTS {_WANTED}"
        await self._change(content.workspace, lambda rows: rows.run(sql, content.workspace, content.sha256))

    async def mend(self, missing: Sequence[Key], wanted: Callable[[str], Sequence[str]]) -> int:
        """See `base.Kept`."""
        return await self._database.change(lambda rows: _mend(rows, missing, wanted))

    # The database

    async def _read(self, act: Callable[[Rows], T]) -> T:
        return await self._database.read(act)

    async def _change(self, workspace: str, act: Callable[[Rows], T]) -> T:
        return await self._database.change(act, f"files {workspace}")

    async def _of(self, job: Job, act: Callable[[Rows], T]) -> T:
        return await self._change(job.content.workspace, act)


def forget_workspace(rows: Rows, workspace: str) -> None:
    """A workspace is gone: forget its files; their bytes are swept, as those of any file that was removed."""
    for table in ("files", "removed", "jobs"):
        rows.run(f"DELETE FROM {table} WHERE workspace = ?", workspace)


def _add(rows: Rows, file: File, form: str, quota: Quota) -> File:
    content = (file.workspace, file.sha256)
    held = rows.one("SELECT count(*), coalesce(sum(bytes), 0) FROM files WHERE workspace = ?", file.workspace)
    assert held is not None
    if held[0] >= quota.files_max:
        raise QuotaFull("files", quota.files_max)
    if held[1] + file.bytes > quota.bytes_max:
        raise QuotaFull("bytes", quota.bytes_max)
    if file.status == "processing":
        read = "SELECT tokens FROM files WHERE workspace = ? AND sha256 = ? AND form = ? AND status = 'processed'"
        known = rows.one(read + " AND purpose = 'file-extract' LIMIT 1", *content, form)
        if known:
            file = replace(file, status="processed", tokens=known[0])
        else:
            rows.run(f"{_JOB} VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", *content, form, file.name)
    rows.run("INSERT INTO blobs VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", *content, BYTES, file.bytes)
    if rows.one("SELECT 1 FROM files WHERE workspace = ? AND id = ?", file.workspace, file.id) is not None:
        raise AlreadyThere("upload", file.name)  # no other id is anybody's choice
    rows.run(
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


def _files(rows: Rows, where: str, *values: Value) -> list[File]:
    return [File(*row) for row in rows.all(f"SELECT {_COLUMNS} FROM files WHERE {where}", *values)]


def _place(rows: Rows, workspace: str, id: str) -> int | None:
    for table in ("files", "removed"):
        sql = f"SELECT place FROM {table} WHERE workspace = ? AND id = ?"
        if (row := rows.one(sql, workspace, id)) is not None:
            return int(row[0])
    return None


def _count(rows: Rows, sql: str, *values: Value) -> int:
    row = rows.one(sql, *values)
    assert row is not None
    return int(row[0])


def _job(row: Sequence[Any]) -> Job:
    return Job(row[0], Content(row[1], row[2]), *row[3:])


def _held(rows: Rows, job: Job, holder: str) -> bool:
    return rows.one(f"SELECT 1 FROM jobs WHERE {_OURS}", job.id, holder, job.tries) is not None


def _end(rows: Rows, job: Job, change: str, value: Value) -> bool:
    where = "workspace = ? AND sha256 = ? AND form = ? AND status = 'processing'"
    content = job.content
    rows.run(f"UPDATE files SET {change} WHERE {where}", value, content.workspace, content.sha256, job.form)
    rows.run("DELETE FROM jobs WHERE id = ?", job.id)
    return True


def _mend(rows: Rows, missing: Sequence[Key], wanted: Callable[[str], Sequence[str]]) -> int:
    changed = 0
    for key in missing:
        content = (key.content.workspace, key.content.sha256)
        rows.run("DELETE FROM blobs WHERE workspace = ? AND sha256 = ? AND kind = ?", *content, key.kind)
        if key.kind == BYTES:
            lost = "UPDATE files SET status = 'error', trouble = 'parse' WHERE workspace = ? AND sha256 = ?"
            changed += rows.run(lost, *content)
            rows.run("DELETE FROM jobs WHERE workspace = ? AND sha256 = ?", *content)
    again = "SELECT workspace, sha256, form, name FROM files WHERE status = 'processing'"
    rows.run(f"{_JOB} {again} ORDER BY place ON CONFLICT DO NOTHING")
    read = "FROM files f WHERE status = 'processed' AND purpose = 'file-extract'"
    for form in [row[0] for row in rows.all(f"SELECT DISTINCT form {read}")]:
        kinds = wanted(form)
        marks = ", ".join("?" * len(kinds))
        have = "SELECT count(*) FROM blobs b WHERE b.workspace = f.workspace AND b.sha256 = f.sha256"
        lacking = f"{read} AND form = ? AND ({have} AND b.kind IN ({marks})) < ?"
        again = f"SELECT workspace, sha256, min(name) {lacking} GROUP BY workspace, sha256"
        for workspace, sha256, name in rows.all(again, form, *kinds, len(kinds)):
            rows.run(f"{_JOB} VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", workspace, sha256, form, name)
            sql = "UPDATE files SET status = 'processing' WHERE workspace = ? AND sha256 = ? AND form = ?"
            changed += rows.run(f"{sql} AND status = 'processed'", workspace, sha256, form)
    return changed
