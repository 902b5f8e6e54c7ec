"""The files of a running server, over HTTP, as any client of its API has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import httpx
import msgspec

from segue.cli.remote import client, lost, refused, strange

_PAGE = 100


class Entry(msgspec.Struct):
    """A file, as the native protocol shows it."""

    file_id: str
    name: str
    purpose: str
    size: int
    md5: str
    gmt_create: str
    status: str = ""
    trouble: str | None = None
    progress: float = 1.0
    description: str = ""


class _One(msgspec.Struct):
    data: Entry


class _Page(msgspec.Struct):
    total: int
    files: list[Entry]


class _Listed(msgspec.Struct):
    data: _Page


class _Added(msgspec.Struct):
    id: str


class Remote:
    """A server's files.  All methods raise Stop."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def add(self, name: str, file: BinaryIO, purpose: str) -> str:
        """Upload one; its id."""
        form = {"purpose": purpose}
        response = self._client.post("/compatible-mode/v1/files", data=form, files={"file": (name, file)})
        return msgspec.json.decode(_answer(response), type=_Added).id

    def show(self, id: str) -> Entry:
        """One file."""
        return msgspec.json.decode(_answer(self._client.get(f"/api/v1/files/{id}")), type=_One).data

    def every(self) -> Iterator[Entry]:
        """All of them, newest first."""
        page_no = seen = 0
        while True:
            page_no += 1
            query = {"page_no": page_no, "page_size": _PAGE}
            page = msgspec.json.decode(_answer(self._client.get("/api/v1/files", params=query)), type=_Listed).data
            yield from page.files
            seen += len(page.files)
            if seen >= page.total or not page.files:
                return

    def remove(self, id: str) -> None:
        """Delete one."""
        _answer(self._client.delete(f"/compatible-mode/v1/files/{id}"))


@contextmanager
def remote(url: str, key: str) -> Iterator[Remote]:
    """The files of the server at `url`."""
    try:
        with client(url, key) as server:
            yield Remote(server)
    except httpx.HTTPError as error:
        raise lost(url, error) from error
    except msgspec.MsgspecError as error:
        raise strange(url, error) from error


def _answer(response: httpx.Response) -> bytes:
    """Its body.  Raises Stop for a refusal."""
    if response.status_code != 200:
        raise refused(str(response.request.url.copy_with(raw_path=b"/")).rstrip("/"), response)
    return response.content
