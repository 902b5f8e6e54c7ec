"""A real S3-compatible server for the tests: moto's, in a process of its own, on a free port.

It keeps everything in its memory, checks no signature and knows no lifecycle: what is tested against it is that we
speak S3, not that S3 keeps its promises.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import httpx
import obstore
from obstore.store import S3Store

from segue.store.bucket import Place
from tests.store.server import free_port

_START_S = 120.0
_VERSIONED = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
_numbers = count()


class BucketServer:
    """A server that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def place(self, prefix: str = "some/prefix") -> Place:
        """A new, empty bucket."""
        bucket = f"bucket{next(_numbers)}"
        httpx.put(f"{self.url}/{bucket}").raise_for_status()
        httpx.put(f"{self.url}/{bucket}?versioning", content=_VERSIONED).raise_for_status()
        return Place(bucket, prefix, self.url, "", "key", "secret")

    def names(self, place: Place) -> list[str]:
        """What lies in a bucket, under its full name."""
        return sorted(meta["path"] for chunk in obstore.list(_store(place)) for meta in chunk)

    def sent(self, place: Place, name: str) -> str | None:
        """Which of the times it is that a thing was put there."""
        return obstore.head(_store(place), name)["version"]

    def replace(self, place: Place, name: str, data: bytes) -> None:
        """Put something else there, as somebody might."""
        obstore.put(_store(place), name, data)


def _store(place: Place) -> S3Store:
    return S3Store(
        place.bucket,
        endpoint=place.endpoint,
        region="us-east-1",
        access_key_id="another",
        secret_access_key="secret",
        client_options={"allow_http": True},
    )


@contextmanager
def bucket_served() -> Iterator[BucketServer]:
    """A server that answers."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                httpx.get(url)
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            else:
                break
        yield BucketServer(url)
    finally:
        process.kill()
        process.wait()
