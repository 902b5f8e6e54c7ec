"""Bytes in an S3-compatible bucket, and near at hand in a local folder.

    <prefix><workspace>/<sha256>.<kind>     what is kept, in the bucket
    the folder                              copies of what was used last, up to a limit; what is being written

Laws: the bucket has a blob whole or not at all; what is mapped is a local copy, which stays as long as it is held
here; a change of which blobs there are is made under the database's lock, of one content or of all.  Another server's
deletion does not ask what is held here: what was not yet copied is then missing, as is any file that was deleted.  No
caller's words are part of a name but a workspace's, spelled out.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from segue.core import frozen
from segue.core.errors import StoreLost
from segue.store.base import BYTES, BlobMissing, Content, Key, StoreUnusable
from segue.store.folder import NAME, FolderBlobs

T = TypeVar("T")

log = logging.getLogger("segue.store")

_TRANSFERS = 8
_PART_BYTES = 8 * 1024**2
_PARTS_AT_ONCE = 4
_PIECE_BYTES = 1024**2
_PROBE = "segue-doctor"
_CONNECT_S, _REQUEST_S, _RETRY_S = 5, 300, 20
_RETRIES_MAX = 5
# What comes in between two looks at how much there is, as a part of the limit; and what is then left.
_LOOK, _LEFT = 1 / 16, 7 / 8


@frozen
class Place:
    """Where a bucket is.  An empty `endpoint` is Amazon's own; empty keys are looked for where its programs look."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    key: str = ""
    secret: str = ""


class BucketBlobs:
    """Blobs at `place`; see `base.Blobs`.  `cache` is this host's folder, `alone` the lock that all servers share."""

    def __init__(
        self,
        place: Place,
        cache: FolderBlobs,
        cache_bytes_max: int,
        alone: Callable[[str], AbstractAsyncContextManager[None]],
    ) -> None:
        self._place = place
        self._cache = cache
        self._bytes_max = cache_bytes_max
        self._alone = alone
        self._store: S3Store | None = None
        self._threads = ThreadPoolExecutor(_TRANSFERS, "segue-bucket")
        self._coming: dict[Key, asyncio.Lock] = {}
        self._came = cache_bytes_max  # look at the first occasion: it may have been larger before
        self._trimming = asyncio.Lock()

    def open(self) -> None:
        """See `base.Blobs`."""
        try:
            self._store = _store(self._place)
            next(iter(obstore.list(self._store, chunk_size=1)), None)
        except (BaseError, OSError, ValueError) as error:
            raise StoreUnusable(f"the bucket {self._place.bucket} cannot be used: {_said(error)}") from error
        self._cache.open()

    def look(self) -> str:
        """See `base.Blobs`."""
        try:
            store = _store(self._place)
            obstore.put(store, _PROBE, b"probe")
            read = bytes(obstore.get(store, _PROBE).bytes())
            obstore.delete(store, _PROBE)
        except (BaseError, OSError, ValueError) as error:
            raise StoreUnusable(f"the bucket {self._place.bucket} cannot be used: {_said(error)}") from error
        if read != b"probe":
            raise StoreUnusable(f"the bucket {self._place.bucket} does not give back what was put there")
        return f"the bucket {self._place.bucket} takes, gives and deletes; {self._cache.look()}"

    @property
    def holder(self) -> str:
        """See `base.Blobs`."""
        return self._cache.holder

    def close(self) -> None:
        """See `base.Blobs`."""
        self._threads.shutdown(wait=False)
        self._cache.close()

    def scratch(self) -> Path:
        """See `base.Blobs`."""
        return self._cache.scratch()

    @asynccontextmanager
    async def changing(self, content: Content | None = None) -> AsyncIterator[None]:
        """See `base.Blobs`."""
        async with self._alone("blobs" if content is None else f"blobs {content.workspace} {content.sha256}"):
            yield

    def holding(self, contents: Sequence[Content]) -> AbstractAsyncContextManager[None]:
        """See `base.Blobs`."""
        return self._cache.holding(contents)

    async def put(self, key: Key, path: Path) -> None:
        """See `base.Blobs`."""
        size = (await asyncio.to_thread(path.stat)).st_size
        await self._in_thread(lambda: self._sent(key, path, size))
        await self._cache.put(key, path)
        await self._trimmed(size)

    def _sent(self, key: Key, path: Path, size: int) -> None:
        name = _name(key)
        if key.kind == BYTES and _size(self._opened, name) == size:
            return  # the same bytes are there already
        obstore.put(self._opened, name, path, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)

    async def local(self, key: Key) -> Path:
        """See `base.Blobs`."""
        try:
            return await self._used(key)
        except BlobMissing:
            pass
        lock = self._coming.setdefault(key, asyncio.Lock())  # several who want it wait for one that fetches it
        try:
            async with lock:
                try:
                    return await self._used(key)
                except BlobMissing:
                    return await self._fetched(key)
        finally:
            if not lock.locked():
                self._coming.pop(key, None)

    async def _used(self, key: Key) -> Path:
        path = await self._cache.local(key)
        try:
            await asyncio.to_thread(os.utime, path)
        except FileNotFoundError as error:
            raise BlobMissing(key.kind) from error
        return path

    async def _fetched(self, key: Key) -> Path:
        scratch = self._cache.scratch()
        try:
            size = await self._in_thread(lambda: _download(self._opened, key, scratch))
            await self._cache.put(key, scratch)
        finally:
            scratch.unlink(missing_ok=True)
        path = await self._cache.local(key)
        await self._trimmed(size)
        return path

    async def delete(self, content: Content, kinds: Sequence[str]) -> bool:
        """See `base.Blobs`."""
        if not await self._cache.delete(content, kinds):
            return False
        names = [_name(Key(content, kind)) for kind in kinds]
        await self._in_thread(lambda: obstore.delete(self._opened, names))
        return True

    async def keys(self) -> set[Key]:
        """See `base.Blobs`.  Copies of what is no longer there are removed."""
        there = await self._in_thread(lambda: set(_found(self._opened)))
        for key in await self._cache.keys() - there:
            await self._cache.delete(key.content, [key.kind])
        return there

    async def tidy(self) -> Sequence[str]:
        """See `base.Blobs`."""
        return await self._cache.tidy()

    async def _trimmed(self, came: int) -> None:
        """Let go of the copies that were used longest ago, once there are too many."""
        self._came += came
        if self._came < self._bytes_max * _LOOK or self._trimming.locked():
            return
        async with self._trimming:
            self._came = 0
            copies = await asyncio.to_thread(self._cache.entries)
            total = sum(copy.bytes for copy in copies)
            if total <= self._bytes_max:
                return
            for copy in sorted(copies, key=lambda copy: copy.used_at):
                if total <= self._bytes_max * _LEFT:
                    return
                if await self._cache.delete(copy.key.content, [copy.key.kind]):  # not what is held
                    total -= copy.bytes

    @property
    def _opened(self) -> S3Store:
        assert self._store is not None, "open it first"
        return self._store

    async def _in_thread(self, does: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, does)
        except BaseError as error:
            log.error("the bucket failed: %s", _said(error))
            raise StoreLost(_said(error)) from error


def place_of(url: str, endpoint: str, region: str, key: str, secret: str) -> Place:
    """The place that `s3://bucket/prefix` names.  Raises StoreUnusable."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise StoreUnusable(f"a bucket is named s3://bucket or s3://bucket/prefix, not {url}")
    if bool(key) != bool(secret):
        raise StoreUnusable("a bucket's key and its secret are set both or neither")
    return Place(bucket, prefix.strip("/"), endpoint, region, key, secret)


def _store(place: Place) -> S3Store:
    given = {
        "endpoint": place.endpoint,
        "region": place.region or ("us-east-1" if place.endpoint else ""),
        "access_key_id": place.key,
        "secret_access_key": place.secret,
    }
    return S3Store(
        place.bucket,
        prefix=place.prefix or None,
        config={name: value for name, value in given.items() if value},  # type: ignore[arg-type]
        client_options={
            "allow_http": place.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=_CONNECT_S),
            "timeout": timedelta(seconds=_REQUEST_S),
        },
        retry_config={"max_retries": _RETRIES_MAX, "retry_timeout": timedelta(seconds=_RETRY_S)},
    )


def _size(store: S3Store, name: str) -> int | None:
    try:
        return obstore.head(store, name)["size"]
    except FileNotFoundError:
        return None


def _download(store: S3Store, key: Key, path: Path) -> int:
    """Raises BlobMissing."""
    digest, size = hashlib.sha256(), 0
    try:
        found = obstore.get(store, _name(key))
        with path.open("xb") as file:
            for piece in found.stream(_PIECE_BYTES):
                file.write(piece)
                digest.update(piece)
                size += len(piece)
    except FileNotFoundError as error:
        raise BlobMissing(key.kind) from error
    if size != found.meta["size"] or (key.kind == BYTES and digest.hexdigest() != key.content.sha256):
        raise StoreLost(f"what the bucket gave for {_name(key)} is not what was put there")
    return size


def _found(store: S3Store) -> Iterator[Key]:
    for chunk in obstore.list(store):
        for meta in chunk:
            workspace, _, name = meta["path"].rpartition("/")
            if "/" not in workspace and (named := NAME.fullmatch(name)):
                yield Key(Content(unquote(workspace.replace("=", "%")), named[1]), named[2])


def _name(key: Key) -> str:
    # A bucket's name may hold fewer characters than a folder's: `=` spells the others out, itself too.
    workspace = quote(key.content.workspace, safe="").replace(".", "%2E").replace("~", "%7E").replace("%", "=")
    return f"{workspace}/{key.content.sha256}.{key.kind}"


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]
