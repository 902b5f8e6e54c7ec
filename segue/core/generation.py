"""What passes between the pipeline and an engine: cards, prompts in, chunks out.

Laws: an engine's only act is to continue token ids.  Nothing here knows of protocols, partial
mode or templates; a `Prompt` is complete, so an engine never asks back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Literal

from segue.core import frozen
from segue.core.media import Sight, View

Ability = Literal[
    "partial", "tools", "json", "thinking", "always_thinking", "stream_thinking", "stream_only", "vision", "score"
]
FinishReason = Literal["stop", "length"]
Clock = Literal["counted", "timed", "told"]
"""How a model is told when a video's frames were: by their number (Qwen2-VL), by their place in time (Qwen2.5-VL), by
text before each two of them (Qwen3-VL)."""


@frozen
class Decoding:
    """How the next token is chosen, with every default filled in.  Ranges: `request.Sampling`."""

    temperature: float = 0.7
    top_p: float = 0.8
    top_k: int = 20
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 1234


@frozen
class ModelCard:
    """What a served model is and can do.

    `template` is the model's own chat template (Jinja source); `context_tokens` bounds prompt
    plus answer; `output_tokens_max` bounds one answer; `output_tokens_default` is what an
    answer gets when nothing is said.  It can be asked to think where its abilities have `thinking`, cannot be asked
    not to with `always_thinking`, and does so in streams only with `stream_thinking`; with `stream_only` it says
    nothing but in streams.  `sight`: which pictures it can be shown, None for none.
    """

    name: str
    context_tokens: int
    output_tokens_max: int
    output_tokens_default: int
    template: str
    bos_token: str = ""
    eos_token: str = ""
    vocabulary_size: int = 0
    token_bytes_max: int = 0
    """The longest token, in bytes; 0 where it is not known.  A text of more than that times the
    context cannot fit, whatever it says."""
    unambiguous: bool = False
    """Every text has one tokenisation only, so that no prefix can end inside a token."""
    control_tokens: tuple[str, ...] = ()
    abilities: frozenset[Ability] = frozenset({"partial"})
    decoding: Decoding = field(default_factory=Decoding)
    sight: Sight | None = None
    clock: Clock = "counted"

    def thinks(self, wish: bool | None) -> bool:
        """Whether an answer begins with a thought, where the caller wishes so: `None`, nothing was said."""
        if "always_thinking" in self.abilities:
            return True
        return wish is True and "thinking" in self.abilities


@frozen
class Segment:
    """A run of prompt text.  `control` runs are the spelling of exactly one control token;
    in all other runs such a spelling is plain characters.  `own` ones are the template's, the same in every prompt."""

    text: str
    control: bool = False
    own: bool = field(default=False, compare=False)


@frozen
class Seam:
    """How the end of a prefix is searched for the tokens that may stand for it.

    `tokens`: how many of the prefix's last tokens may be given back; `eps`: the search ends when what is
    unread weighs so little beside what is read; `nodes`: how many beginnings it may read beside the prefix's
    own; `seconds`: how long it may take, where the answer need not be deterministic.
    """

    tokens: int = 4
    eps: float = 0.01
    nodes: int = 12
    seconds: float = 2.0


SeamMode = Literal["exact", "healed", "resumed", "plain"]
"""`exact`: drawn from the model's distribution given the prefix's bytes, up to `bound`; `healed`: the
last tokens were given back and written again, for engines that cannot score; `resumed`: gone on with
from the recorded tokens; `plain`: the prefix's own tokens stand."""


@frozen
class SeamFound:
    """How the prefix was joined to the answer.  `bound`: largest total variation to the exact
    distribution; `nodes`: beginnings that were read for it; `back_bytes`: so many of the prefix's last bytes could be
    spelled otherwise."""

    mode: SeamMode
    bound: float = 0.0
    nodes: int = 0
    back_bytes: int = 0


Tier = Literal["whole", "retrieval", "digest", "notes"]
"""What the model was given of the documents: `whole`, all of them; `retrieval`, the passages that fit the question
best; for a question about all of it `digest`, an extract of each, or `notes`, those it took of all pieces."""


@frozen
class Citation:
    """What the model was given of one document, in one run: bytes `start` to `end` of its text.

    `file` is the uploaded file's id, None for a text that was sent; `label` is the part (`p. 12`), "" where there is
    none; `text` is the run itself, or the note on it, "" for a whole document.
    """

    file: str | None
    name: str
    label: str
    start: int
    end: int
    text: str = ""


@frozen
class Reading:
    """What was read for an answer.  `files` is the number of documents, uploaded or sent; `tokens` is their whole
    length, whatever was read of them; `citations` are in the order in which the model was given them."""

    tier: Tier
    files: int
    tokens: int
    citations: tuple[Citation, ...] = ()


LEXER_FUEL = 500_000
"""What compiling a constraint may cost, in llguidance's measure: about ten for each character of a string with a
bound.  It bounds forced text, too, at some tenths of a second."""


@frozen
class Constraint:
    """What the whole answer must look like, its prefix included: a grammar as llguidance reads it, within
    `LEXER_FUEL`."""

    grammar: str


@frozen
class Prompt:
    """Everything an engine needs to continue `ids`.

    `answer_at` is the index in `ids` where the answer begins: the caller's prefix is
    `ids[answer_at:]`, empty when there is none.  Penalties count from there, and sampling noise
    is numbered from there.  From `drawn_at` on the ids were drawn one by one by an earlier answer,
    which this one resumes; None: none were.  `first_choice` is the number of the first choice in the
    noise.  `seam`: the prefix may end inside a token.  `constraint` bears on `ids[answer_at:]` and all that
    follows; the prefix is known to keep to it.  `logprobs` is `None` when not asked, else the
    number of alternatives (0-5).  `lasting`: its beginning will be asked for again, also after a restart.
    `documents` are the marks (`documents.mark`) of the files that something of is in it.  `views` are its pictures and
    videos in their order; each stands where negative ids are, as many as it has places (`core.places`).  `whole`:
    nobody reads the answer before its end, so tokens that are there together may come in one chunk.
    """

    request_id: str
    model: str
    workspace: str
    ids: Sequence[int]
    answer_at: int
    decoding: Decoding
    output_tokens_max: int
    choices: int = 1
    logprobs: int | None = None
    deterministic: bool = False
    drawn_at: int | None = None
    first_choice: int = 0
    seam: Seam | None = None
    constraint: Constraint | None = None
    lasting: bool = False
    documents: frozenset[str] = frozenset()
    views: tuple[View, ...] = ()
    whole: bool = False


@frozen
class Alternative:
    """A token that could have come: its bytes and natural-log probability."""

    data: bytes
    logprob: float


@frozen
class TokenLogprob:
    """The natural-log probability of a token that came, before penalties and temperature."""

    data: bytes
    logprob: float
    top: tuple[Alternative, ...] = ()


@frozen
class Opened:
    """The first thing an engine says: the prompt is read, this much of it was remembered, and so was its
    prefix joined, where `Prompt.seam` asked for it."""

    cached_tokens: int
    seam: SeamFound | None = None


@frozen
class Joined:
    """What a seam search made of a prefix: `path`, with the generated ids behind it, stands for the last
    `back` of its ids."""

    back: int
    path: tuple[int, ...]


@frozen
class Chunk:
    """A few tokens more of one choice.  `data` is exactly the bytes of `ids`; a token that ends
    the answer has no bytes and is not among them.  `finish` is set once a choice, on its last.

    `joined` comes with a choice's first chunk after a seam search.  The first of its `ids` may then have
    begun inside the prefix; `data` has what lies beyond.  `cached_tokens` comes with a choice's last chunk from an
    engine that learns only then how much of the prompt was remembered.  `thought`: it belongs to the thought before the
    answer."""

    choice: int
    ids: tuple[int, ...]
    data: bytes
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: FinishReason | None = None
    joined: Joined | None = None
    thought: bool = False
    cached_tokens: int | None = None
