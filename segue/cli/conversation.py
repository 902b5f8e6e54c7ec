"""A conversation at a terminal: what was asked, what came of it, and how it is asked for again.

Laws: an answer is kept to the letter, as far as it came; going on sends it back as the prefix
(`partial`), with the seed that it was drawn with.  No input or output here, and no HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field

READS_DOCUMENTS = "qwen-long"
_ROLE = "You are a helpful assistant."
_SEED = 1234  # what the server takes where nothing is said; a further try is drawn with another


@dataclass(frozen=True, slots=True)
class File:
    """An uploaded file that the conversation is about."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture, as the data URI that carries it."""

    name: str
    uri: str


@dataclass(slots=True)
class Turn:
    """A question and its answer so far.  `reason` says why the answer ended: empty where it was stopped or broke off.
    `tries` counts how often it was begun anew."""

    question: str
    files: list[File] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    answer: str = ""
    thought: str = ""
    reason: str = ""
    tries: int = 0


@dataclass(slots=True)
class Conversation:
    """All turns; what was attached for the next one waits in `files` and `images`."""

    model: str
    system: str = ""
    seed: int | None = None
    turns: list[Turn] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)

    @property
    def last(self) -> Turn | None:
        """The turn that can be gone on with."""
        return self.turns[-1] if self.turns else None

    def ask(self, question: str) -> Turn:
        """A new turn.  One that nothing came of is given up, but for its files."""
        last = self.last
        if last is not None and not last.answer:
            self.files = [*last.files, *self.files]
            self.turns.pop()
        turn = Turn(question, self.files, self.images)
        self.files, self.images = [], []
        self.turns.append(turn)
        return turn

    def asked_of(self) -> str:
        """The model's name for the next answer: one that reads documents, where there are some."""
        about = any(turn.files for turn in self.turns)
        return READS_DOCUMENTS if about and not self.model.startswith(READS_DOCUMENTS) else self.model

    def body(self, **wishes: object) -> dict[str, object]:
        """The request for the rest of the last answer, which is all of it where nothing has come.  What of `wishes`
        is None is left out."""
        turn = self.turns[-1]
        seed = self.seed
        if turn.tries:
            seed = (self.seed or _SEED) + turn.tries
        return {
            "model": self.asked_of(),
            "messages": self.messages(),
            **{name: wish for name, wish in {**wishes, "seed": seed}.items() if wish is not None},
        }

    def messages(self) -> list[dict[str, object]]:
        """As the API has them; the last answer is open."""
        messages: list[dict[str, object]] = []
        if self.system or any(turn.files for turn in self.turns):
            messages.append({"role": "system", "content": self.system or _ROLE})
        for turn in self.turns:
            if turn.files:
                named = ",".join(f"fileid://{file.id}" for file in turn.files)
                messages.append({"role": "system", "content": named})
            messages.append({"role": "user", "content": _content(turn)})
            if turn is not self.last:
                messages.append({"role": "assistant", "content": turn.answer})
            elif turn.answer or turn.thought:
                said: dict[str, object] = {"role": "assistant", "content": turn.answer, "partial": True}
                if turn.thought:
                    said["reasoning_content"] = turn.thought
                messages.append(said)
        return messages

    def kept(self) -> str:
        """All of it as a page of Markdown."""
        parts = [f"**System:** {self.system}"] if self.system else []
        for turn in self.turns:
            attached = ", ".join([*(file.name for file in turn.files), *(image.name for image in turn.images)])
            parts.append(f"## {turn.question}" if "\n" not in turn.question else f"## You\n\n{turn.question}")
            if attached:
                parts.append(f"*With {attached}.*")
            parts.append(turn.answer)
        return "\n\n".join(parts) + "\n"


def cut_at(answer: str, where: str) -> int | None:
    """How many characters of `answer` stay: `40`, `-40` from its end, or up to and with words that occur in it."""
    try:
        number = int(where)
    except ValueError:
        at = answer.rfind(where)
        return None if at < 0 else at + len(where)
    return max(0, min(len(answer), number if number >= 0 else len(answer) + number))


def _content(turn: Turn) -> object:
    if not turn.images:
        return turn.question
    pictures = [{"type": "image_url", "image_url": {"url": image.uri}} for image in turn.images]
    return [*pictures, {"type": "text", "text": turn.question}]
