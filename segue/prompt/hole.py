"""Plain text to be gone on with, or with a hole to be filled: no conversation, no chat template.

    text                     -> (bos) text
    text, suffix             -> <fim_prefix> text <fim_suffix> suffix <fim_middle>

Where a hole is full: models that were made for conversations write on behind it, often the very lines of the
suffix.  The answer ends before the suffix is said again, and before a declaration that stands further left than the
text on both sides of the hole, which would close the block that the suffix goes on with.

Laws: what the caller wrote is plain, whatever it spells; only the marks are control tokens, and they are the
model's own: a model that has none cannot fill a hole.  Pure.
"""

from __future__ import annotations

from dataclasses import replace

from segue.core import frozen
from segue.core.errors import NotSupported
from segue.core.generation import ModelCard, Segment
from segue.core.request import Plain, Request
from segue.prompt.partial import Turn


@frozen
class Marks:
    """What stands before the text, between text and suffix, and behind the suffix."""

    prefix: str
    suffix: str
    middle: str


FAMILIES = (
    Marks("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder, Qwen3-Coder
    Marks("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite
    Marks("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder
)

AGAIN_MIN, AGAIN_MAX = 12, 400
"""Characters of the suffix, blanks not counted, that are no accident when they are said again; and the most, blanks
counted, that are looked for."""
INDENTED_MAX = 40
DECLARATIONS = (
    *("def ", "async def ", "class ", "@", "if __name__"),
    *("function ", "export ", "interface ", "type ", "fn ", "pub ", "impl ", "trait ", "func ", "struct ", "enum "),
    *("public ", "private ", "protected ", "static ", "namespace ", "module "),
)
REPETITION_PENALTY = 1.0
"""Where the caller says nothing: code says the same names and signs again and again.  Of 50 holes in Python's standard
library the default model fills 30 so that the file compiles with the 1.05 it has for conversations, 35 with this."""


def filled(request: Request) -> Request:
    """A request to fill a hole, with what holds for holes alone; any other as it is."""
    if request.plain is None or request.plain.suffix is None:
        return request
    sampling = request.sampling
    if sampling.repetition_penalty is None:
        sampling = replace(sampling, repetition_penalty=REPETITION_PENALTY)
    stop = replace(request.stop, strings=(*request.stop.strings, *_ends(request.plain.text, request.plain.suffix)))
    return replace(request, sampling=sampling, stop=stop)


def _ends(before: str, after: str) -> tuple[str, ...]:
    """Where the text in a hole is over, whatever the model thinks."""
    begun, told = "", 0
    for line in after[:AGAIN_MAX].splitlines(keepends=True):
        begun, told = begun + line, told + len("".join(line.split()))
        if told >= AGAIN_MIN:
            break
    again = (begun.rstrip("\r\n"),) if told >= AGAIN_MIN else ()
    own = before.rpartition("\n")[2]
    behind = next((line for line in after.splitlines()[1:] if line.strip()), "")
    left = min(_indented(own), _indented(behind), INDENTED_MAX)
    return (*again, *("\n" + own[:column] + each for column in range(left) for each in DECLARATIONS))


def _indented(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def marks(card: ModelCard) -> Marks | None:
    """The model's marks, None where it has none."""
    known = set(card.control_tokens)
    return next((each for each in FAMILIES if known.issuperset((each.prefix, each.suffix, each.middle))), None)


def opened(card: ModelCard, plain: Plain, begins: bool) -> Turn:
    """The text as a prefix that is gone on with, or the whole prompt where there is a hole; `begins`: texts of this
    model begin with its first token.  Raises NotSupported."""
    first = [Segment(card.bos_token, True)] if begins else []
    if plain.suffix is None:
        return Turn(tuple(first), (Segment(plain.text),))
    signs = marks(card)
    if signs is None:
        raise NotSupported("suffix", card.name)
    parts = [
        *first,
        Segment(signs.prefix, True),
        Segment(plain.text),
        Segment(signs.suffix, True),
        Segment(plain.suffix),
        Segment(signs.middle, True),
    ]
    return Turn(tuple(part for part in parts if part.text), ())
