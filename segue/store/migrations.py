"""How the tables came to be: a list that only grows.

Laws: a step that was ever released is never changed; all missing steps are made in one transaction, under the
database's own lock, so that of several processes that start at once one makes them; a database from a later version is
refused, not guessed at.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from segue.store.base import StoreUnusable

STEPS: tuple[str, ...] = (
    """
    CREATE TABLE files (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace TEXT NOT NULL,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        md5 TEXT NOT NULL,
        form TEXT NOT NULL,
        purpose TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        status TEXT NOT NULL,
        trouble TEXT,
        tokens INTEGER NOT NULL DEFAULT 0,
        description TEXT NOT NULL DEFAULT '',
        UNIQUE (workspace, id)
    );
    CREATE INDEX files_by_content ON files (workspace, sha256, form);
    CREATE INDEX files_by_size ON files (workspace, bytes);
    CREATE INDEX files_by_place ON files (workspace, place);
    CREATE TABLE removed (
        workspace TEXT NOT NULL,
        id TEXT NOT NULL,
        place INTEGER NOT NULL,
        removed_at REAL NOT NULL,
        PRIMARY KEY (workspace, id)
    ) WITHOUT ROWID;
    CREATE INDEX removed_by_age ON removed (removed_at);
    CREATE TABLE blobs (
        workspace TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        kind TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (workspace, sha256, kind)
    ) WITHOUT ROWID;
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        form TEXT NOT NULL,
        name TEXT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        progress REAL NOT NULL DEFAULT 0,
        holder TEXT,
        until REAL NOT NULL DEFAULT 0,
        UNIQUE (workspace, sha256, form)
    );
    """,
)


def migrate(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> None:
    """Bring the tables up to date.  The connection must be in autocommit mode.  Raises StoreUnusable."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        done: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if done > len(steps):
            raise StoreUnusable(f"its tables are of version {done}, and this Segue knows {len(steps)}: use a later one")
        for step in steps[done:]:
            for statement in step.split(";"):  # `executescript` would commit first
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise
