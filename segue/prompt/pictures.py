"""Pictures in the prompt: where the template left room for one, its places.

    Request.messages with media -> the template prints a pad for each -> segments -> ids -> each pad is its places

Laws: a template prints one pad for each medium, in their order, and a caller's text never spells one (`caller.py`); a
model that is told a video's time in words (`Clock`) reads them in front of every two frames, as it was trained to.
Pure; what is seen was fetched by somebody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field, replace

from segue.core import frozen
from segue.core.errors import MessagesInvalid
from segue.core.generation import ModelCard, Segment
from segue.core.media import Medium, Sort, View
from segue.core.places import FRAMES_TOGETHER, count, ids, together
from segue.core.request import Request

PADS: Mapping[Sort, str] = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
BEGIN, END = "<|vision_start|>", "<|vision_end|>"
AROUND_TOKENS = 2
"""The marks around a picture count as its own, as the service has it."""

Seen = Mapping[Medium, View]
Encode = Callable[[Sequence[Segment]], Awaitable[list[int]]]


@frozen
class Shown:
    """What a model is shown of what a caller named."""

    card: ModelCard
    seen: Seen = field(default_factory=dict)

    def views(self, request: Request) -> tuple[View, ...]:
        """What stands in the prompt, in its order."""
        return tuple(part for medium in media(request) for part in _parts(self.seen[medium], self.card))

    async def ids(self, encode: Encode, segments: Sequence[Segment], request: Request) -> list[int]:
        """The rendered conversation in ids, its pictures as their places.  Raises MessagesInvalid, and what
        `encode` raises."""
        views, sight = self.views(request), self.card.sight
        if not views or sight is None:
            return await encode(segments)
        found = await encode(spread(segments, request, self.card, self.seen))
        pads = await encode([Segment(pad, True) for pad in PADS.values()])
        return expanded(found, pads, views, sight.patch)

    def tokens(self, views: Sequence[View]) -> tuple[int, int]:
        """What pictures and videos take of the prompt."""
        sums = {"image": 0, "video": 0}
        for view in views:
            if self.card.sight is not None:
                sums[view.sort] += count(view, self.card.sight.patch) + AROUND_TOKENS
        return sums["image"], sums["video"]


def media(request: Request) -> tuple[Medium, ...]:
    """What the caller named, in its order."""
    return tuple(placed.medium for message in request.messages for placed in message.media)


def spread(segments: Sequence[Segment], request: Request, card: ModelCard, seen: Seen) -> list[Segment]:
    """The rendered conversation with a pad for each of `Shown.views`.  Raises MessagesInvalid where the template has
    shown others than there are."""
    left, made = list(media(request)), list[Segment]()
    for at, segment in enumerate(segments):
        sort = _sort(segment)
        if sort is None:
            made.append(segment)
            continue
        if not left or left[0].sort != sort:
            raise MessagesInvalid("template", value="it shows other pictures than there are")
        view = seen[left.pop(0)]
        if view.sort == "image" or card.clock != "told":
            made.append(segment)
            continue
        if made[-1:] != [Segment(BEGIN, True)] or list(segments[at + 1 : at + 2]) != [Segment(END, True)]:
            raise MessagesInvalid("template", value="it shows a video without the marks around it")
        made.pop()
        for number in range(len(together(view))):
            made.append(Segment(f"<{_seconds(view, number):.1f} seconds>"))
            made += [Segment(BEGIN, True), segment, Segment(END, True)]
        made.pop()  # the template's own comes now
    if left:
        raise MessagesInvalid("template", value="it does not show every picture")
    return made


def expanded(prompt: Sequence[int], pads: Sequence[int], shown: Sequence[View], patch: int) -> list[int]:
    """The ids with each pad (`pads` are the ids of all kinds) replaced by its view's places."""
    made: list[int] = []
    left = iter(shown)
    for token in prompt:
        if token in pads:
            made += ids(next(left), patch)
        else:
            made.append(token)
    return made


def _sort(segment: Segment) -> Sort | None:
    if segment.control:
        for sort, pad in PADS.items():
            if segment.text == pad:
                return sort
    return None


def _parts(view: View, card: ModelCard) -> list[View]:
    if view.sort == "image" or card.clock != "told":
        return [view]
    return [replace(view, pictures=pair) for pair in together(view)]


def _seconds(view: View, number: int) -> float:
    """When the two frames were, in the middle between them."""
    first = number * FRAMES_TOGETHER
    last = min(first + 1, len(view.pictures) - 1)
    return (first + last) / 2 * view.seconds
