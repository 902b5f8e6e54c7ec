"""Log probabilities as both protocols write them: `{"content":[{token,bytes,logprob,top_logprobs}]}`.

Law: U+FFFD never appears.  A token whose bytes are not whole characters is spelled
`bytes:\\xe4\\xbd`, as OpenAI does; its exact bytes stand beside it in any case.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from segue.core.generation import Alternative, TokenLogprob

# JSON has no minus infinity; this is what OpenAI sends for a token that cannot come.
FLOOR = -9999.0


def token_text(data: bytes) -> str:
    """A token's text, or its bytes spelled out when they are not whole characters."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def _entry(token: TokenLogprob | Alternative) -> dict[str, object]:
    # NaN compares false, so it too becomes the floor.
    logprob = token.logprob if token.logprob > FLOOR else FLOOR
    return {"token": token_text(token.data), "bytes": list(token.data), "logprob": logprob}


def entries(tokens: Sequence[TokenLogprob]) -> list[dict[str, object]]:
    """One entry a token."""
    return [_entry(token) | {"top_logprobs": [_entry(other) for other in token.top]} for token in tokens]


def encoded(tokens: Sequence[TokenLogprob]) -> bytes:
    """The entries as JSON, joined by commas, without the brackets."""
    return msgspec.json.encode(entries(tokens))[1:-1]
