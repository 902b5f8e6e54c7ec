"""A model file from a model hub, over HTTP.

Laws: a broken connection is taken up again where it broke (Range), a few times; the hub must
announce the size the catalogue knows; a redirect may lead to http(s) only, and never from https
to http.  Whether the bytes are right is not judged here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

import httpx

from segue.catalogue.part import Part, SourceFailed

_TRIES_MAX = 5
_REDIRECTS_MAX = 5
_PAUSE_S = 0.5


def fetch(url: str, part: Part, connect_s: float, read_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Append the rest of the file at `url` to `part`.  Raises SourceFailed; what came stays in `part`.

    `connect_s` bounds the wait for a connection, `read_s` the wait for the next bytes.
    """
    limits = httpx.Timeout(connect=connect_s, read=read_s, write=read_s, pool=connect_s)
    tries = _TRIES_MAX
    with httpx.Client(timeout=limits, follow_redirects=False, headers={"accept-encoding": "identity"}) as client:
        while part.done < part.total:
            before = part.done
            try:
                _continue(client, url, part)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
                # Nobody is there, or the proxy settings forbid it: no use in asking again.
                raise SourceFailed(_worded(error)) from error
            except httpx.HTTPError as error:
                # A try that brought something does not count: a long file on a weak line gets there.
                tries = _TRIES_MAX if part.done > before else tries - 1
                if tries == 0:
                    raise SourceFailed(_worded(error)) from error
                part.say(f"the connection to {urlsplit(url).hostname} broke; going on at {part.done:,} bytes")
                sleep(_PAUSE_S)


def _continue(client: httpx.Client, url: str, part: Part) -> None:
    for _ in range(_REDIRECTS_MAX + 1):
        headers = {"range": f"bytes={part.done}-"} if part.done else {}
        with client.stream("GET", url, headers=headers) as response:
            if response.is_redirect:
                url = _followed(url, response.headers.get("location", ""))
                continue
            _placed(response, part)
            # As it comes: blocks of a set size would be lost, half full, with the connection.
            for block in response.iter_raw():
                part.append(block)
            return
    raise SourceFailed(f"it redirects more than {_REDIRECTS_MAX} times")


def _placed(response: httpx.Response, part: Part) -> None:
    """Check that what follows is the rest of our file, and stand where it begins."""
    length = response.headers.get("content-length", "")
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("content-range", ""))
        if not match or int(match[1]) != part.done or int(match[2]) != part.total:
            raise SourceFailed("it answers with another range than was asked for")
    elif response.status_code == 200:
        if length != str(part.total):
            raise SourceFailed(f"it holds a file of {length or 'unknown'} bytes, not {part.total}")
        part.cut(0)  # it does not do ranges: from the beginning
    else:
        raise SourceFailed(f"it answers {response.status_code}")


def _followed(url: str, location: str) -> str:
    target = urljoin(url, location)
    schemes = ("https",) if urlsplit(url).scheme == "https" else ("http", "https")
    if urlsplit(target).scheme not in schemes or not urlsplit(target).hostname:
        raise SourceFailed("it redirects to an address that is not followed")
    return target


def _worded(error: httpx.HTTPError) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
