"""Temporary uploads: pictures and videos that are asked about for a while, in no list, and then gone.

Laws: who may upload is told before a byte is read, by a ticket that names key, workspace, folder and time and that only
this house can make; what is uploaded is its workspace's alone, counts against its quota, is never written over, and
expires.  This file knows no protocol.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from segue.core import frozen
from segue.core.documents import Purpose
from segue.core.errors import AlreadyThere, FileAbsent, KeyInvalid, MediumRefused, StoreLost
from segue.core.request import Caller
from segue.files.desk import Arriving, Desk
from segue.store.base import Store

log = logging.getLogger("segue.files")

SCHEME = "oss://"
_FOLDER = "dashscope-instant"
_NAME_CHARS_MAX = 255
_MARK_CHARS = 24
_NONCE_BYTES = 16
_SWEPT_EVERY_S = 600.0
_SWEPT_MAX = 1000

Seal = Callable[[str, str, bytes], bytes]
"""A mark on bytes, in the name of the key of an id in a workspace; raises KeyInvalid."""


@frozen
class UploadBounds:
    """What temporary uploads keep to.  `ticket_s` is how long leave to upload lasts."""

    kept_s: float = 48 * 3600.0
    ticket_s: float = 300.0
    bytes_max: int = 1024**3


@frozen
class Permit:
    """Leave to upload into `folder`: `ticket` is the place to upload to, `policy` and `signature` come with it."""

    ticket: str
    folder: str
    policy: str
    signature: str


class Uploads:
    """Of all workspaces; `seal` as above, `clock` in unix seconds."""

    def __init__(
        self,
        desk: Desk,
        store: Store,
        seal: Seal,
        caller: Callable[[str, str], Caller],
        bounds: UploadBounds,
        clock: Callable[[], float],
    ) -> None:
        self._desk = desk
        self._store = store
        self._seal = seal
        self._caller = caller
        self._clock = clock
        self.bounds = bounds
        self._task: asyncio.Task[None] | None = None

    def admit(self, workspace: str) -> None:
        """May this workspace ask for leave now?  Raises RateExceeded."""
        self._desk.admit(workspace, upload=False)

    def permit(self, caller: Caller) -> Permit:
        """Leave to upload, for a while.  Raises KeyInvalid."""
        until = int(self._clock() + self.bounds.ticket_s)
        owner = hashlib.sha256(caller.workspace.encode()).hexdigest()[:32]
        day = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%d")
        folder = f"{_FOLDER}/{owner}/{day}/{secrets.token_hex(_NONCE_BYTES)}"
        claim = json.dumps([caller.key, caller.workspace, folder, until]).encode()
        expires = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        conditions = [["content-length-range", 0, self.bounds.bytes_max], ["starts-with", "$key", folder]]
        policy = base64.b64encode(json.dumps({"expiration": expires, "conditions": conditions}).encode()).decode()
        mark = self._seal(caller.key, caller.workspace, claim)
        ticket = base64.urlsafe_b64encode(mark + claim).decode().rstrip("=")
        signature = base64.b64encode(self._seal(caller.key, caller.workspace, policy.encode())).decode()
        return Permit(ticket, folder, policy, signature)

    def holder(self, ticket: str) -> Caller:
        """Who was given a ticket.  Raises KeyInvalid, also for one that is too old."""
        return self._claimed(ticket)[0]

    def bytes_max(self, name: str, purpose: Purpose | None) -> int:
        """How large an upload may be."""
        return self.bounds.bytes_max

    async def begin(self) -> Arriving:
        """See `Desk.begin`."""
        return await self._desk.begin()

    async def keep(self, arriving: Arriving, ticket: str, key: str, policy: str, signature: str) -> None:
        """Take in what has arrived, as `key`.  Raises KeyInvalid, AlreadyThere, TooLarge, QuotaFull."""
        caller, folder = self._claimed(ticket)
        proper = self._seal(caller.key, caller.workspace, policy.encode())
        given = _decoded(signature, base64.b64decode)
        name = key.removeprefix(folder + "/")
        good = hmac.compare_digest(proper, given) and name != key and 0 < len(name) <= _NAME_CHARS_MAX
        if not good or "/" in name:
            raise KeyInvalid
        known = await self._store.find(caller.workspace, _id(key))
        if known is None:
            try:
                await self._desk.keep(arriving, caller.workspace, name, "upload", mark=_mark(key))
                return
            except AlreadyThere:  # another was quicker
                known = await self._store.find(caller.workspace, _id(key))
        await asyncio.to_thread(arriving.shut)
        if known is None or known.sha256 != arriving.sha256.hexdigest():
            raise AlreadyThere("upload", name)

    @asynccontextmanager
    async def held(self, workspace: str, address: str) -> AsyncGenerator[Path, None]:
        """Where the bytes of an `oss://` address are, held meanwhile.  Raises MediumRefused."""
        id = _id(address.removeprefix(SCHEME))
        file = await self._store.find(workspace, id)
        if file is None or file.created_at + self.bounds.kept_s < self._clock():
            raise MediumRefused("lost")
        try:
            async with self._desk.content(workspace, id) as (_, path):
                yield path
        except FileAbsent as error:
            raise MediumRefused("lost") from error

    async def open(self) -> None:
        """Begin to remove what is too old.  Does nothing when it is open."""
        if self._task is None:
            self._task = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Stop.  Safe to call without `open`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def expire(self) -> int:
        """Remove what is too old; how much there was of it."""
        old = await self._store.old_uploads(self._clock() - self.bounds.kept_s, _SWEPT_MAX)
        for workspace, id in old:
            with contextlib.suppress(FileAbsent):  # another server was quicker
                await self._desk.remove(workspace, id)
        return len(old)

    async def _sweep(self) -> None:
        while True:
            try:
                while await self.expire() == _SWEPT_MAX:
                    """There may be more."""
            except StoreLost:
                log.warning("old uploads could not be removed; it is tried again")
            except Exception:  # whatever it is: what is old must go some day
                log.exception("old uploads could not be removed; it is tried again")
            await asyncio.sleep(_SWEPT_EVERY_S)

    def _claimed(self, ticket: str) -> tuple[Caller, str]:
        """Raises KeyInvalid."""
        data = _decoded(ticket + "=" * (-len(ticket) % 4), base64.urlsafe_b64decode)
        mark, claim = data[:32], data[32:]
        try:
            key, workspace, folder, until = json.loads(claim)
        except (ValueError, TypeError, RecursionError) as error:
            raise KeyInvalid from error
        if not all(isinstance(each, str) for each in (key, workspace, folder)) or not isinstance(until, int):
            raise KeyInvalid
        if not hmac.compare_digest(self._seal(key, workspace, claim), mark) or until < self._clock():
            raise KeyInvalid
        return self._caller(key, workspace), folder


def _decoded(text: str, decode: Callable[[str], bytes]) -> bytes:
    """Raises KeyInvalid."""
    try:
        return decode(text)
    except (binascii.Error, ValueError) as error:
        raise KeyInvalid from error


def _mark(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:_MARK_CHARS]


def _id(key: str) -> str:
    return "file-upload-" + _mark(key)
