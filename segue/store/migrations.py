"""How the tables came to be: a list that only grows.

Laws: a step that was ever released is never changed; all missing steps are made in one transaction, under the
database's own lock, so that of several processes that start at once one makes them; a database from a later version is
refused, not guessed at.

To add tables, write their text as a constant and append it to `STEPS`.  It is written in SQLite's words, of those that
`_POSTGRES` knows; a `;` ends a statement and stands nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from segue.store.base import StoreUnusable

_FILES = """
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
"""

_TENANCY = """
    CREATE TABLE organisations (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        created_at INTEGER NOT NULL
    );
    CREATE TABLE workspaces (
        id TEXT PRIMARY KEY,
        organisation TEXT NOT NULL,
        name TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        models TEXT,
        limits TEXT NOT NULL,
        removed_at INTEGER
    );
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        workspace TEXT NOT NULL,
        name TEXT NOT NULL,
        sha256 TEXT NOT NULL UNIQUE,
        created_at INTEGER NOT NULL,
        role TEXT NOT NULL,
        hint TEXT NOT NULL,
        expires_at INTEGER,
        revoked_at INTEGER,
        models TEXT,
        limits TEXT NOT NULL
    );
    CREATE INDEX keys_by_workspace ON keys (workspace, id);
    CREATE TABLE acts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        who TEXT NOT NULL,
        what TEXT NOT NULL,
        workspace TEXT NOT NULL,
        subject TEXT NOT NULL,
        details TEXT NOT NULL
    );
    CREATE INDEX acts_by_workspace ON acts (workspace, id);
    CREATE TABLE revisions (
        name TEXT PRIMARY KEY,
        number INTEGER NOT NULL
    );
"""

_USAGE = """
    CREATE TABLE ledger (
        id TEXT PRIMARY KEY,
        at REAL NOT NULL,
        hour INTEGER NOT NULL,
        workspace TEXT NOT NULL,
        key_id TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        model TEXT NOT NULL,
        served TEXT NOT NULL,
        input_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        first_ms INTEGER,
        total_ms INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        cost_micros INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX ledger_by_hour ON ledger (hour);
    CREATE TABLE usage_days (
        day TEXT NOT NULL,
        workspace TEXT NOT NULL,
        key_id TEXT NOT NULL,
        served TEXT NOT NULL,
        requests INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        cost_micros INTEGER NOT NULL,
        PRIMARY KEY (day, workspace, key_id, served)
    ) WITHOUT ROWID;
    CREATE INDEX usage_by_workspace ON usage_days (workspace, day);
    CREATE INDEX usage_by_key ON usage_days (key_id, day);
    CREATE TABLE counters (
        name TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        at REAL NOT NULL
    ) WITHOUT ROWID;
"""

_BATCHES = """
    CREATE TABLE batches (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        workspace TEXT NOT NULL,
        key TEXT NOT NULL,
        name TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        input_file TEXT NOT NULL,
        span TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        status TEXT NOT NULL,
        output_file TEXT NOT NULL,
        error_file TEXT NOT NULL,
        in_progress_at INTEGER NOT NULL,
        finalizing_at INTEGER NOT NULL,
        completed_at INTEGER NOT NULL,
        failed_at INTEGER NOT NULL,
        expired_at INTEGER NOT NULL,
        cancelling_at INTEGER NOT NULL,
        cancelled_at INTEGER NOT NULL,
        total INTEGER NOT NULL,
        completed INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        troubles TEXT NOT NULL,
        metadata TEXT NOT NULL,
        holder TEXT,
        until REAL NOT NULL DEFAULT 0,
        UNIQUE (workspace, id)
    );
    CREATE INDEX batches_by_status ON batches (status, place);
    CREATE TABLE batch_lines (
        batch TEXT NOT NULL,
        line INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (batch, line)
    ) WITHOUT ROWID;
"""

_TIMES = "CREATE INDEX ledger_by_workspace ON ledger (workspace, hour);"

_CLUSTER = """
    CREATE TABLE remembered (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        workspace TEXT NOT NULL,
        name TEXT NOT NULL,
        until REAL NOT NULL,
        bytes INTEGER NOT NULL,
        data BLOB NOT NULL
    );
    CREATE INDEX remembered_by_name ON remembered (kind, workspace, name, number);
    CREATE INDEX remembered_by_age ON remembered (kind, workspace, number, bytes);
    CREATE INDEX remembered_by_workspace ON remembered (workspace);
    CREATE INDEX remembered_by_end ON remembered (until);
    CREATE TABLE replicas (
        model TEXT NOT NULL,
        id TEXT NOT NULL,
        url TEXT NOT NULL,
        weight REAL NOT NULL,
        key_env TEXT NOT NULL,
        addresses INTEGER NOT NULL,
        draining INTEGER NOT NULL,
        added INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (model, id)
    ) WITHOUT ROWID;
"""

STEPS: tuple[str, ...] = (
    _FILES,
    _TENANCY,
    _USAGE,
    _BATCHES,
    _TIMES,
    _CLUSTER,
)

# SQLite's INTEGER has 64 bits, its REAL too, and its TEXT sorts by bytes: so is PostgreSQL told.
_POSTGRES = {
    "INTEGER PRIMARY KEY AUTOINCREMENT": "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
    "INTEGER": "BIGINT",
    "REAL": "DOUBLE PRECISION",
    "TEXT": 'TEXT COLLATE "C"',
    "BLOB": "BYTEA",
    "WITHOUT ROWID": "",
}
_WORDS = re.compile("|".join(rf"\b{word}\b" for word in _POSTGRES))


def missing(done: int, steps: Sequence[str] = STEPS) -> list[str]:
    """The statements of the steps behind the first `done`.  Raises StoreUnusable for tables from a later version."""
    if done > len(steps):
        raise StoreUnusable(f"its tables are of version {done}, and this Segue knows {len(steps)}: use a later one")
    return [statement for step in steps[done:] for statement in step.split(";") if statement.strip()]


def told(done: int, steps: Sequence[str] = STEPS) -> str:
    """Of which version the tables are, in words.  Raises StoreUnusable for a later one."""
    missing(done, steps)
    later = f", brought to {len(steps)} at the next start" if done < len(steps) else ""
    return f"tables of version {done}{later}"


def in_postgres(statement: str) -> str:
    """A statement of a step, as PostgreSQL says it."""
    return _WORDS.sub(lambda found: _POSTGRES[found[0]], statement)
