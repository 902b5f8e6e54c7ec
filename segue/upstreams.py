"""Builds the engine of a model that runs elsewhere, from its entry in the catalogue and the settings.

Laws: those of `app.py`, of which this is a part.  A key is read from the environment here, and goes nowhere but to
its upstream.
"""

from __future__ import annotations

import os
from pathlib import Path

from segue.catalogue.read import Entry, read_catalogue
from segue.catalogue.shelf import Shelf
from segue.catalogue.table import CatalogueInvalid
from segue.config import Engine, Settings
from segue.core.media import Sight
from segue.engine.remote.fleet import Fleet
from segue.engine.remote.spec import Bounds, RemoteSpec, Site
from segue.engine.router.balance import Policy
from segue.engine.router.engine import Failover

_PATCH = 28
"""The square behind a token, as the service counts for most of its models."""
_PICTURE_TOKENS_MIN = 4


def fleet_of(entry: Entry, settings: Settings) -> Fleet:
    """The engine, not yet started.  Raises CatalogueInvalid for a key that is not there."""
    about, told = settings.upstreams, entry.remote
    assert told is not None
    known = read_catalogue(settings.models.catalogue).entries.get(told.tokenizer)
    missing = [each.key_env for each in told.upstreams if each.key_env and not os.environ.get(each.key_env)]
    if missing:
        raise CatalogueInvalid([f"{entry.name}: {name}, which is to have a key, is not set" for name in missing])
    spec = RemoteSpec(
        name=entry.name,
        kind=told.kind,
        vocabulary=Path(told.tokenizer) if known is None else Shelf(settings.models.dir).path(known),
        model=told.model,
        context_tokens=entry.context_tokens,
        output_tokens_max=entry.output_tokens_max,
        output_tokens_default=entry.output_tokens_default,
        decoding=entry.decoding,
        abilities=entry.abilities - ({"partial"} if told.kind == "chat" and not told.prefix else set()),
        template=entry.template,
        bounds=Bounds(
            connect_s=about.connect_s,
            first_s=about.first_token_s,
            silence_s=about.silence_s,
            look_s=about.look_s,
            looks_every_s=about.look_every_s,
            line_bytes_max=about.line_bytes_max,
            body_bytes_max=about.body_bytes_max,
            running_max=about.running_max,
        ),
        prefix=told.prefix,
        extras=told.extras,
        sight=_sight(settings.engine) if told.sees else None,
    )
    sites = [
        Site(each.url, os.environ.get(each.key_env, ""), each.weight, each.ca, each.addresses)
        for each in told.upstreams
    ]
    policy = Policy(
        share=about.share_max,
        known_share=about.share_max * 1.2,
        failures_max=about.failures_max,
        open_s=about.left_alone_s,
        open_s_max=about.left_alone_max_s,
        slow_start_s=about.slow_start_s,
    )
    return Fleet(spec, sites, policy, Failover(about.attempts_max, about.wait_s), about.resolve_every_s)


def _sight(about: Engine) -> Sight:
    """What an upstream is shown: as much as a model here, and counted as the service does."""
    area = _PATCH * _PATCH
    return Sight(
        patch=_PATCH,
        pixels_min=_PICTURE_TOKENS_MIN * area,
        pixels_max=about.picture_tokens_max * area,
        video_tokens_max=about.video_tokens_max,
        frames_max=about.video_frames_max,
    )
