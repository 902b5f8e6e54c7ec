"""The composition root's part for pictures and videos: who fetches and decodes them, and where uploads of them lie.

Law: nothing here decides; it passes settings to where they are kept and functions to where they are called.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from segue.config import Settings
from segue.config_read import SettingsInvalid
from segue.core.errors import FileAbsent, FileUnknown
from segue.files.archive import Archive
from segue.files.uploads import UploadBounds, Uploads
from segue.media.decoder import Decoder
from segue.media.fetch import Fetcher, mirror
from segue.media.gallery import Gallery
from segue.media.guard import Guard, Reach
from segue.media.limits import DecodeLimits, FetchLimits, MediaLimits
from segue.media.sources import Nothing, Shelf, Sources
from segue.policy.auth import Auth
from segue.wire.media import FILE


def uploads_of(settings: Settings, archive: Archive, auth: Auth) -> Uploads:
    """The temporary uploads, not yet opened."""
    media = settings.media
    bounds = UploadBounds(media.upload_kept_s, media.upload_wait_s, media.upload_bytes_max)
    return Uploads(archive.desk, archive.store, auth.seal, auth.caller, bounds, time.time)


def gallery_of(settings: Settings, archive: Archive | None, uploads: Uploads | None) -> Gallery:
    """Who fetches and decodes.  Raises SettingsInvalid."""
    media = settings.media
    try:
        guard = Guard(cast(Reach, media.fetch), media.hosts)
    except ValueError as error:
        raise SettingsInvalid([f"media.hosts: {error}"]) from error
    try:
        mirrors = [mirror(text) for text in media.mirrors]
    except ValueError as error:
        raise SettingsInvalid([f"media.mirrors: {error}"]) from error
    fetching = FetchLimits(
        image_bytes_max=media.image_bytes_max,
        video_bytes_max=media.video_bytes_max,
        redirects_max=media.redirects_max,
        whole_s=media.fetch_s,
        video_s=media.video_fetch_s,
        running_max=media.fetching_max,
    )
    decoding = DecodeLimits(
        memory_bytes_max=media.decode_bytes_max,
        cpu_s=media.decode_cpu_s,
        wall_s=media.decode_s,
        picture_pixels_max=media.pixels_max,
        decoded_bytes_max=media.decoded_bytes_max,
        video_seconds_max=media.video_s_max,
    )
    places = media.decoding_max or max(1, (os.cpu_count() or 1) - 1)
    limits = MediaLimits(
        media_max=media.media_max,
        uri_bytes_max=media.uri_bytes_max,
        stills_bytes_max=media.images_bytes_max,
        image_tokens_max=media.image_tokens_max,
        requests_max=media.requests_max,
        whole_s=media.whole_s,
        kept_bytes_max=media.kept_bytes_max,
        kept_workspace_bytes_max=media.kept_workspace_bytes_max,
    )
    shelf: Shelf = Nothing() if archive is None or uploads is None else _Shelf(archive, uploads)
    sources = Sources(Fetcher(guard, fetching, mirrors=mirrors), shelf, fetching, media.uri_bytes_max)
    return Gallery(sources, Decoder(decoding, places), limits)


class _Shelf:
    """Temporary uploads, and files of the Files API."""

    def __init__(self, archive: Archive, uploads: Uploads) -> None:
        self._archive = archive
        self._uploads = uploads

    @asynccontextmanager
    async def held(self, workspace: str, address: str) -> AsyncGenerator[Path, None]:
        """See `Shelf`."""
        if not address.startswith(FILE):
            async with self._uploads.held(workspace, address) as path:
                yield path
            return
        id = address.removeprefix(FILE)
        try:
            async with self._archive.desk.content(workspace, id) as (_, path):
                yield path
        except FileAbsent as error:
            raise FileUnknown(id) from error
