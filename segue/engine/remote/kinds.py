"""The kinds of upstreams by their names, and the engine of a model that runs on one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

from segue.engine.remote import vocabulary
from segue.engine.remote.chat import END, TEMPLATE, Chat, Marked
from segue.engine.remote.engine import RemoteEngine, Shared
from segue.engine.remote.kind import Kind
from segue.engine.remote.llama_server import LlamaServer
from segue.engine.remote.sglang import Sglang
from segue.engine.remote.spec import RemoteSpec, Site
from segue.engine.remote.upstream import Model
from segue.engine.remote.vllm import Vllm
from segue.engine.remote.vocabulary import Known


def kind_of(shared: Shared, spec: RemoteSpec) -> Kind:
    """How upstreams of the spec's kind are spoken to."""
    words = shared.model.words
    match spec.kind:
        case "llama-server":
            return LlamaServer(words.size, words.encode([("!", False)])[-1])
        case "vllm":
            return Vllm(spec.model, sorted(words.eog))
        case "sglang":
            return Sglang(sorted(words.eog))
        case "chat":
            assert isinstance(words, Marked)
            return Chat(spec.model, words, spec.prefix, spec.extras, spec.sight)
        case _ as unknown:
            assert_never(unknown)


class Reading:
    """A model's files, read once for all its replicas."""

    def __init__(self, spec: RemoteSpec) -> None:
        self._spec = spec
        self._read: asyncio.Task[Shared] | None = None

    def __call__(self) -> asyncio.Future[Shared]:
        """What they say; begins to read them when first asked."""
        if self._read is None or (self._read.done() and (self._read.cancelled() or self._read.exception())):
            self._read = asyncio.create_task(asyncio.to_thread(self._all))
        return asyncio.shield(self._read)

    def _all(self) -> Shared:
        return read(self._spec)


def read(spec: RemoteSpec) -> Shared:
    """What a model's files say; blocks for seconds.  Raises EngineFailed."""
    known = vocabulary.read(spec.vocabulary)
    if spec.kind == "chat":  # its conversation is read back out of the prompt
        known = Known(Marked(known.words), TEMPLATE, "", END)
    return Shared(known, Model.of(known.words))


def remote(spec: RemoteSpec, site: Site, reading: Callable[[], asyncio.Future[Shared]]) -> RemoteEngine:
    """The engine of one replica, not yet started."""
    return RemoteEngine(spec, site, reading, kind_of)
