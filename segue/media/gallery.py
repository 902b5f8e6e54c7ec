"""What a model is shown of the pictures and videos of a conversation: the one face of this folder.

    Medium -> plan -> sources (fetch, data URI, upload) -> decoder (a process in a cage) -> View

Laws: everything has a limit: how many there are, their bytes, pixels, frames and seconds, how many are fetched and
decoded at a time; what was decoded for a workspace is kept for its next question, and never for another's; a wait that
its caller leaves ends at once, with whatever it had begun.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from segue.core.errors import MediumRefused, TimedOut
from segue.core.media import Medium, Sight, View
from segue.media.decoder import Decoded, Decoder
from segue.media.kept import Kept
from segue.media.limits import MediaLimits
from segue.media.plan import Plan, planned
from segue.media.sources import Purse, Sources, nameless
from segue.media.turns import Turns, share
from segue.media.words import Task


@dataclass(slots=True)
class _Waiting:
    """Something that is to be decoded, for all places in the request that it has; `key` is what it is kept by."""

    key: bytes
    task: Task
    pieces: list[bytes]
    places: list[int]


class Gallery:
    """Implements `core.media.Viewer`."""

    def __init__(self, sources: Sources, decoder: Decoder, limits: MediaLimits) -> None:
        self._sources = sources
        self._decoder = decoder
        self._limits = limits
        self._turns = Turns(limits.requests_max, share(limits.requests_max))
        self._kept = Kept(limits.kept_bytes_max, limits.kept_workspace_bytes_max)

    async def see(self, workspace: str, media: Sequence[Medium], sight: Sight) -> tuple[View, ...]:
        """See `Viewer`."""
        limits = self._limits
        if len(media) > limits.media_max:
            raise MediumRefused("many", len(media), limits.media_max)
        plans = [planned(medium, sight, limits.image_tokens_max) for medium in media]
        try:
            async with asyncio.timeout(limits.whole_s), self._turns.turn(workspace):
                found = await self._stills(workspace, plans)
                for place, plan in enumerate(plans):
                    if plan.task.sort == "video":
                        found[place] = await self._video(workspace, plan)
        except TimeoutError:
            raise TimedOut from None
        return tuple(found[place] for place in range(len(plans)))

    async def _stills(self, workspace: str, plans: Sequence[Plan]) -> dict[int, View]:
        """Pictures and lists of frames, by their places in the request; what must be decoded is so by one process."""
        wanted = {source for plan in plans if plan.task.sort != "video" for source in plan.sources}
        if not wanted:
            return {}
        purse = Purse(self._limits.stills_bytes_max, self._limits.stills_bytes_max)
        data = await self._sources.stills(workspace, wanted, purse)
        digests = await asyncio.to_thread(lambda: {each: hashlib.sha256(data[each]).digest() for each in wanted})
        found: dict[int, View] = {}
        waiting: dict[bytes, _Waiting] = {}
        for place, plan in enumerate(plans):
            if plan.task.sort == "video":
                continue
            key = _key(plan.task, [digests[source] for source in plan.sources])
            known = self._kept.find(workspace, key)
            if known is not None:
                found[place] = known
            elif key in waiting:
                waiting[key].places.append(place)
            else:
                pieces = [data[source] for source in plan.sources]
                waiting[key] = _Waiting(key, plan.task, pieces, [place])
        size = sum(len(piece) for each in waiting.values() for piece in each.pieces)
        if size > self._limits.stills_bytes_max:  # one picture may be a frame many times
            raise MediumRefused("large", size, self._limits.stills_bytes_max)
        if waiting:
            found |= await self._decoded(workspace, list(waiting.values()))
        return found

    async def _decoded(self, workspace: str, waiting: Sequence[_Waiting]) -> dict[int, View]:
        with nameless() as file:
            await asyncio.to_thread(_written, file, waiting)
            tasks = [_task(each.task, [len(piece) for piece in each.pieces]) for each in waiting]
            made = await self._decoder.decode(workspace, file.fileno(), tasks)
        found: dict[int, View] = {}
        for each, decoded in zip(waiting, made, strict=True):
            view = _view(each.task, decoded)
            self._kept.keep(workspace, each.key, view)
            found |= dict.fromkeys(each.places, view)
        return found

    async def _video(self, workspace: str, plan: Plan) -> View:
        with nameless() as file:
            digest = await self._sources.video(workspace, plan.sources[0], file)
            key = _key(plan.task, [digest])
            known = self._kept.find(workspace, key)
            if known is not None:
                return known
            made = await self._decoder.decode(workspace, file.fileno(), [_task(plan.task, [0])])
        view = _view(plan.task, made[0])
        self._kept.keep(workspace, key, view)
        return view


def _key(task: Task, digests: Sequence[bytes]) -> bytes:
    """What a view is kept by: all it was made of."""
    return hashlib.sha256(b"".join([msgspec.msgpack.encode(task), *digests])).digest()


def _task(task: Task, lengths: list[int]) -> Task:
    return msgspec.structs.replace(task, lengths=lengths)


def _view(task: Task, decoded: Decoded) -> View:
    return View("image" if task.sort == "image" else "video", decoded.pictures, decoded.seconds)


def _written(file: BinaryIO, waiting: Sequence[_Waiting]) -> None:
    for each in waiting:
        file.writelines(each.pieces)
    file.flush()
    file.seek(0)
