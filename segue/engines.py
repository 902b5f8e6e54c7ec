"""Builds the engines of the served models.

Laws: those of `app.py`, of which this is a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, assert_never

from segue.catalogue.read import Entry, Names
from segue.catalogue.shelf import Shelf
from segue.config import Settings
from segue.engine.base import Engine
from segue.engine.house import House
from segue.post import Post
from segue.prompt import template

if TYPE_CHECKING:
    from segue.engine.llama.spec import LlamaSpec

# The engine keeps its own limit and says more about it; this one only catches an engine that does not.
_START_GRACE_S = 10.0
_SCRIPTED_PLACES = 100_000


def engine_of(entry: Entry, settings: Settings, post: Post | None = None) -> Engine:
    """The engine of one model, not yet started; at a `post`, the embedded one is shared."""
    match entry.engine:
        case "llama":
            return _embedded(entry, settings, post)
        case "scripted":
            return _scripted(entry)
        case "remote":
            return _remote(entry, settings)
        case _ as unknown:
            assert_never(unknown)


def house_of(
    settings: Settings, names: Names, engines: Mapping[str, Engine] | None = None, post: Post | None = None
) -> House:
    """The served engines, not yet started; `engines` stand in for those of the catalogue."""
    built = engines or {entry.name: engine_of(entry, settings, post) for entry in names.entries}
    return House(built, names.resolve, settings.engine.startup_s + _START_GRACE_S, template.check)


def _embedded(entry: Entry, settings: Settings, post: Post | None) -> Engine:
    # Imported when wanted: it loads a C library that other engines do not need.
    from segue.engine.llama.engine import LlamaEngine
    from segue.engine.llama.line import Join

    return LlamaEngine(spec_of(entry, settings), None if post is None else Join(post.door(entry.name)))


def spec_of(entry: Entry, settings: Settings) -> LlamaSpec:
    """What the embedded engine is told of a model."""
    from segue.engine.llama.spec import LlamaSpec

    engine, shelf = settings.engine, Shelf(settings.models.dir)
    return LlamaSpec(
        name=entry.name,
        path=shelf.path(entry),
        context_tokens=entry.context_tokens,
        output_tokens_max=entry.output_tokens_max,
        output_tokens_default=entry.output_tokens_default,
        decoding=entry.decoding,
        abilities=entry.abilities,
        template=entry.template,
        threads=engine.threads,
        slots=engine.slots,
        queue=engine.queue,
        kv_tokens=engine.kv_tokens,
        snapshots=engine.snapshots_dir,
        snapshots_bytes_max=engine.snapshots_bytes_max,
        step_target_ms=engine.step_target_ms,
        remembered=engine.remembered_max,
        prompt_piece_tokens=engine.prompt_piece_tokens,
        projector=None if entry.projector is None else shelf.path(entry.projector),
        picture_tokens_max=engine.picture_tokens_max,
        video_tokens_max=engine.video_tokens_max,
        frames_max=engine.video_frames_max,
        pictures_bytes_max=engine.pictures_bytes_max,
        encoded_bytes_max=engine.encoded_bytes_max,
        picture_timeout_s=engine.picture_s,
        stall_timeout_s=engine.stall_s,
        startup_timeout_s=engine.startup_s,
        restart_wait_s=engine.restart_wait_s,
    )


def _remote(entry: Entry, settings: Settings) -> Engine:
    # Imported when wanted, as the embedded one is.
    from segue.upstreams import fleet_of

    return fleet_of(entry, settings)


def _scripted(entry: Entry) -> Engine:
    from segue.engine.scripted import Echo, Scripted, scripted_card

    card = scripted_card(entry.name, entry.context_tokens, entry.output_tokens_max)
    return Scripted(Echo(), card, running_max=_SCRIPTED_PLACES, waiting_max=_SCRIPTED_PLACES)
