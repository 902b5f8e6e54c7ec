"""The keys this server issued: their digests in one file.

Laws: a key is shown once, when it is made, and never stored; the file holds SHA-256 digests, is
readable by its owner alone and is replaced atomically under a lock; what `segue key` changes holds
for a running server at its next request.  A slow password hash would only slow every request
down: it is for guessable secrets, and 192 random bits are not guessable.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

_KEY_BYTES = 24
_ID_BYTES = 4
_VERSION = 1
_SHA256 = hashlib.sha256()


class KeysUnusable(Exception):
    """The key file cannot be read or written.  The message says why and what to do."""


class KeyRecord(msgspec.Struct, frozen=True):
    """What is known of an issued key: its public identifier, its name, its digest, when it was made (UTC)."""

    id: str
    name: str
    sha256: str
    created: str


class _Content(msgspec.Struct):
    version: int
    keys: list[KeyRecord]


def digest(secret: str) -> str:
    """What is kept of a key: SHA-256, hexadecimal."""
    fresh = _SHA256.copy()  # cheaper than to have OpenSSL look the method up again
    fresh.update(secret.encode("utf-8", "surrogatepass"))
    return fresh.hexdigest()


@dataclass(frozen=True, slots=True)
class _Seen:
    """The file as it was when last read.  `stamp` tells whether it has changed since."""

    stamp: tuple[int, int, int]
    records: tuple[KeyRecord, ...]


class KeyFile:
    """The issued keys at `path`.  All methods raise KeysUnusable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: _Seen | None = None
        self._reading = threading.Lock()

    def records(self) -> Sequence[KeyRecord]:
        """Every key that is valid now; none when there is no file.  Reads only when the file has changed."""
        try:
            stat = self.path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            with self._reading:
                if self._seen is None or self._seen.stamp != stamp:
                    content = msgspec.json.decode(self.path.read_bytes(), type=_Content)
                    self._seen = _Seen(stamp, tuple(content.keys))
                return self._seen.records
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.MsgspecError) as error:
            raise KeysUnusable(
                f"{self.path} cannot be read: {error}. Mend it, or remove it for a fresh key."
            ) from error

    def new(self, name: str) -> tuple[str, KeyRecord]:
        """Issue a key: the secret, to be shown once, and its record."""
        secret = "sk-" + secrets.token_hex(_KEY_BYTES)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        record = KeyRecord("key-" + secrets.token_hex(_ID_BYTES), name, digest(secret), created)
        with self._changing() as records:
            records.append(record)
        return secret, record

    def remove(self, id: str) -> bool:
        """Withdraw the key with this identifier; False when there is none."""
        with self._changing() as records:
            kept = [record for record in records if record.id != id]
            found = len(kept) < len(records)
            records[:] = kept
        return found

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[KeyRecord]]:
        """The records to change in place; written when the block ends."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.path.with_name(self.path.name + ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                records = list(self.records())
                yield records
                self._write(records)
        except OSError as error:
            raise KeysUnusable(f"{self.path} cannot be written: {error}. Set SEGUE_AUTH_KEYS_FILE.") from error

    def _write(self, records: list[KeyRecord]) -> None:
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()  # left by a crash of a process with our number
        data = msgspec.json.format(msgspec.json.encode(_Content(_VERSION, records)), indent=2)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
