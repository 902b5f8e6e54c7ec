"""A continuation from a running server, as any client of its API asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import msgspec

from segue.cli.terminal import Stop

_CONNECT_S = 5.0
_READ_S = 300.0


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Frame(msgspec.Struct):
    choices: list[_Choice] = []
    error: msgspec.Raw | None = None


class _Wrong(msgspec.Struct):
    message: str = ""


class _Refusal(msgspec.Struct):
    error: _Wrong = msgspec.field(default_factory=_Wrong)


def continued(base: str, key: str, body: dict[str, object]) -> Iterator[tuple[str, str | None]]:
    """Pieces of the continuation, each with the finish reason where it is the last.  Raises Stop."""
    url = f"{base.rstrip('/')}/compatible-mode/v1/chat/completions"
    limits = httpx.Timeout(_READ_S, connect=_CONNECT_S)
    headers = {"authorization": f"Bearer {key}"}
    try:
        with httpx.stream("POST", url, json={**body, "stream": True}, headers=headers, timeout=limits) as response:
            if response.status_code != 200:
                raise Stop(f"{base} answers {response.status_code}: {_told(response.read())}")
            for line in response.iter_lines():
                if not line.startswith("data:") or line.removeprefix("data:").strip() == "[DONE]":
                    continue
                yield from _pieces(line.removeprefix("data:").encode())
    except httpx.HTTPError as error:
        raise Stop(f"{base} cannot be reached: {error or type(error).__name__}") from error
    except msgspec.MsgspecError as error:
        raise Stop(f"{base} does not speak this API: {error}") from error


def _pieces(data: bytes) -> Iterator[tuple[str, str | None]]:
    frame = msgspec.json.decode(data, type=_Frame)
    if frame.error is not None:
        raise Stop(f"the answer broke off: {_told(data)}")
    for choice in frame.choices:
        yield choice.delta.content or "", choice.finish_reason


def _told(data: bytes) -> str:
    try:
        return msgspec.json.decode(data, type=_Refusal).error.message
    except msgspec.MsgspecError:
        return data[:200].decode("utf-8", "replace")
