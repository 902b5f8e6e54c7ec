"""Where bytes may be kept but in a folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store.bucket_server import BucketServer, bucket_served


@pytest.fixture(scope="session")
def buckets() -> Iterator[BucketServer]:
    """A server of buckets."""
    with bucket_served() as server:
        yield server
