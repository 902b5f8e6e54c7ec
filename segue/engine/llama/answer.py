"""One answer under way, as the server's side of the engine keeps it: enough to ask for the rest of it anew."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from segue.core.errors import Fault
from segue.core.generation import Chunk, Joined, Opened, Prompt
from segue.core.media import View
from segue.engine.llama import frames

Item = Opened | Chunk | Fault


@dataclass(slots=True, eq=False)
class Answer:
    """One prompt under way: where its chunks go, which of its choices are open."""

    prompt: Prompt
    items: asyncio.Queue[Item] = field(default_factory=asyncio.Queue)
    opened: bool = False
    resumes: int = 0
    generated: dict[int, list[int]] = field(default_factory=dict)
    """Ids so far of every unfinished choice, by strand number."""
    joined: dict[int, Joined] = field(default_factory=dict)
    """What a seam search made of the prefix, by strand number."""
    choice: dict[int, int] = field(default_factory=dict)

    @property
    def pictures_bytes(self) -> int:
        """How much its pictures are, each counted once."""
        return sum(len(pixels) for pixels in self._pixels().values())

    def pictures(self) -> list[frames.See]:
        """What the process must have seen before `rest`."""
        return [frames.See(digest, pixels) for digest, pixels in self._pixels().items()]

    def _pixels(self) -> dict[bytes, bytes]:
        return {picture.digest: picture.pixels for view in self.prompt.views for picture in view.pictures}

    def rest(self) -> frames.Open:
        """Everything about each unfinished choice, what it has said included."""
        prompt, how, seam = self.prompt, self.prompt.decoding, self.prompt.seam
        return frames.Open(
            workspace=prompt.workspace,
            ids=frames.pack_ids(list(prompt.ids)),
            answer_at=prompt.answer_at,
            drawn_at=len(prompt.ids) if prompt.drawn_at is None else prompt.drawn_at,
            seam=None if seam is None else frames.Seam(seam.tokens, seam.eps, seam.nodes, seam.seconds),
            choices=[self._rest(number) for number in self.generated],
            temperature=how.temperature,
            top_p=how.top_p,
            top_k=how.top_k,
            repetition_penalty=how.repetition_penalty,
            presence_penalty=how.presence_penalty,
            frequency_penalty=how.frequency_penalty,
            seed=how.seed,
            logprobs=-1 if prompt.logprobs is None else prompt.logprobs,
            deterministic=prompt.deterministic,
            grammar="" if prompt.constraint is None else prompt.constraint.grammar,
            lasting=prompt.lasting,
            documents=sorted(prompt.documents),
            views=[_view(view) for view in prompt.views],
            again=self.resumes > 0,
        )

    def _rest(self, number: int) -> frames.Choice:
        prompt, generated, joined = self.prompt, self.generated[number], self.joined.get(number)
        back, path = (joined.back, joined.path) if joined is not None else (0, ())
        return frames.Choice(
            strand=number,
            choice=prompt.first_choice + self.choice[number],
            back=back,
            generated=frames.pack_ids([*path, *generated]),
            joined=joined is not None,
            tokens_max=prompt.output_tokens_max - len(generated),
        )


def _view(view: View) -> frames.View:
    first = view.pictures[0]
    digests = [picture.digest for picture in view.pictures]
    return frames.View(view.sort == "video", first.width, first.height, view.seconds, digests)
