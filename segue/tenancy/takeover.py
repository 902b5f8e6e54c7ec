"""The keys of versions that kept them in a file: taken into the rows, once.

Laws: no key is lost: the file is put aside only when its keys are in the rows, and one that cannot be read stops the
start; no key comes back: what was revoked since stays revoked, also where the file cannot be put aside.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from pathlib import Path

import msgspec

from segue.core.tenancy import WORKSPACE, KeyRecord
from segue.store.base import StoreUnusable
from segue.store.database import Database, Rows
from segue.tenancy import rows

log = logging.getLogger("segue.tenancy")

ASIDE = ".taken"
_WHO = "house"


class _Record(msgspec.Struct):
    id: str
    name: str
    sha256: str
    created: str


class _Content(msgspec.Struct):
    version: int
    keys: list[_Record]


async def take_over(database: Database, path: Path, now: float) -> int:
    """Take the keys of the file at `path` in, where there is one; how many were new.  Raises StoreUnusable."""
    records = await asyncio.to_thread(read_file, path)
    if records is None:
        return 0

    def act(all: Rows) -> int:
        fresh = [each for each in records if rows.add_key(all, each)]
        for each in fresh:
            rows.note(all, now, _WHO, "key.take", WORKSPACE, each.id, "{}")
        if fresh:
            rows.count_up(all)
        return len(fresh)

    taken = await database.change(act, "tenancy")
    await asyncio.to_thread(_put_aside, path)
    return taken


def read_file(path: Path) -> list[KeyRecord] | None:
    """The keys of a file; None where there is none.  Raises StoreUnusable."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_Content)
        return [_record(each) for each in content.keys]
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # msgspec's are ValueErrors too
        raise StoreUnusable(f"{path} cannot be read: {error}. Mend it, or remove it for fresh keys.") from error


def _put_aside(path: Path) -> None:
    try:
        path.replace(path.with_name(path.name + ASIDE))
    except FileNotFoundError:  # another server was at it too
        return
    except OSError as error:
        log.warning("the keys of %s are in the store; it can be removed (%s)", path, error)


def _record(old: _Record) -> KeyRecord:
    created = int(datetime.fromisoformat(old.created).timestamp())
    if len(old.sha256) != 64 or set(old.sha256) - set("0123456789abcdef"):
        raise ValueError(f"the digest of {old.id} is none")
    return KeyRecord(old.id, WORKSPACE, old.name, old.sha256, created)
