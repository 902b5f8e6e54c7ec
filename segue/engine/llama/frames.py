"""What the server process and the engine process say to each other.

Framing: four bytes of little-endian length, then one msgpack message.  Token ids travel as
little-endian int32 bytes.
"""

from __future__ import annotations

import struct

import msgspec
import numpy as np

from segue.core.generation import Clock

FRAME_BYTES_MAX = 64 * 1024 * 1024
_LENGTH = struct.Struct("<I")


class Choice(msgspec.Struct, array_like=True):
    """One choice of an answer: the answer's `ids` but for the last `back`, then `generated`, which it has
    already said.  `joined`: its seam has been found."""

    strand: int
    choice: int
    back: int
    generated: bytes
    joined: bool
    tokens_max: int


class Seam(msgspec.Struct, array_like=True):
    """How the end of the prefix is to be searched: tokens given back, and the search's budget."""

    tokens: int
    eps: float
    nodes: int
    seconds: float


class See(msgspec.Struct, tag=True, array_like=True):
    """A picture of the next `Open`: RGB, row by row.  `digest` is its name there."""

    digest: bytes
    pixels: bytes
    parent: int = 0
    """Whose, of those who share the engine; the engine's own affair."""


class View(msgspec.Struct, array_like=True):
    """A picture or a video of an answer's prompt: the pictures it is made of, by their digests, and how many seconds
    are between two of them."""

    video: bool
    width: int
    height: int
    seconds: float
    digests: list[bytes]


class Open(msgspec.Struct, tag=True, array_like=True):
    """Begin, or go on with, an answer.

    `ids` is the prompt with the prefix; the answer begins at `answer_at`; from `drawn_at` on its ids
    were drawn one by one, by an earlier request.  Negative ids are places of `views`, whose pictures have come before
    this.  `grammar` bears on the answer; "" is none.  All choices
    come in one message, so that they take their places in the same step: who shares a step decides the
    last bits of its arithmetic, and a request asked twice must meet the same company.
    """

    workspace: str
    ids: bytes
    answer_at: int
    drawn_at: int
    seam: Seam | None
    choices: list[Choice]
    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int
    logprobs: int
    deterministic: bool
    grammar: str = ""
    lasting: bool = False
    documents: list[str] = []
    views: list[View] = []
    again: bool = False
    """It was let in before, by a process that has died since."""


class Forget(msgspec.Struct, tag=True, array_like=True):
    """Keep nothing of these documents."""

    documents: list[str]


class Cancel(msgspec.Struct, tag=True, array_like=True):
    """Nobody waits for this strand any more."""

    strand: int


class Encode(msgspec.Struct, tag=True, array_like=True):
    """Token ids, please.  Each segment is (text, is it a control token's spelling)."""

    call: int
    segments: list[tuple[str, bool]]


class Pieces(msgspec.Struct, tag=True, array_like=True):
    """The bytes of these tokens, please."""

    call: int
    ids: bytes


class Ready(msgspec.Struct, tag=True, array_like=True):
    """The model is loaded."""

    template: str
    vocabulary_size: int
    context_train: int
    bos: str
    eos: str
    longest: int
    control: list[str]
    patch: int = 0  # 0: it sees nothing
    clock: Clock = "counted"
    process: int = 0


class Encoded(msgspec.Struct, tag=True, array_like=True):
    """The answer to `Encode`."""

    call: int
    ids: bytes


class Pieced(msgspec.Struct, tag=True, array_like=True):
    """The answer to `Pieces`."""

    call: int
    pieces: list[bytes]


class Logprob(msgspec.Struct, array_like=True):
    """A token's bytes and log-probability, and its best rivals'."""

    data: bytes
    logprob: float
    top: list[tuple[bytes, float]]


class Joined(msgspec.Struct, array_like=True):
    """What became of the end of the prefix: the last `back` of its ids became `path` and what was said.  `bound` is the
    search's largest total variation, `nodes` what it read, `back_bytes` what those ids had spelled."""

    back: int
    path: bytes
    bound: float
    nodes: int
    back_bytes: int


class Token(msgspec.Struct, array_like=True):
    """What one step did for one strand.  `id` < 0: the answer ended without a token.  `data` is what of
    the token's bytes lies behind the prefix."""

    strand: int
    id: int
    data: bytes
    finish: str  # "", "stop" or "length"
    cached: int  # >= 0 on a strand's first token only
    logprob: Logprob | None = None
    joined: Joined | None = None  # on the first token after a seam search


class Step(msgspec.Struct, tag=True, array_like=True):
    """One step of the batch.  `batches`: how many the model was given since the last one was told; `cells_used`: how
    much of the context memory answers and what is remembered of them hold."""

    tokens: list[Token]
    running: int
    waiting: int
    batches: int
    cells_used: int = 0


class StrandFailed(msgspec.Struct, tag=True, array_like=True):
    """This strand cannot go on."""

    strand: int
    detail: str
    form: bool = False  # the wanted form is at fault, which no model can keep to
    full: bool = False  # those who share this engine have taken all places, and all to wait in


class Broken(msgspec.Struct, tag=True, array_like=True):
    """The engine cannot start."""

    detail: str


ToEngine = See | Open | Cancel | Forget | Encode | Pieces
FromEngine = Ready | Encoded | Pieced | Step | StrandFailed | Broken

_encoder = msgspec.msgpack.Encoder()
to_engine = msgspec.msgpack.Decoder(ToEngine)
from_engine = msgspec.msgpack.Decoder(FromEngine)


def frame(message: ToEngine | FromEngine) -> bytes:
    """One framed message."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


def length(head: bytes) -> int:
    """The body's length in bytes.  Raises ValueError past FRAME_BYTES_MAX."""
    size: int = _LENGTH.unpack(head)[0]
    if size > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {size} bytes")
    return size


def pack_ids(ids: list[int]) -> bytes:
    """Token ids as bytes."""
    return np.asarray(ids, dtype="<i4").tobytes()


def unpack_ids(data: bytes) -> list[int]:
    """Bytes as token ids."""
    ids: list[int] = np.frombuffer(data, dtype="<i4").tolist()
    return ids
