"""What a caller asked for, in words that belong to neither protocol.

Laws: a `Request` is only made by a reader in `wire/`; every field is already of its documented
type and within its documented range; `None` means "not said", so that a model's own default can
be told from a caller's wish.  This file knows no JSON field name, no model and no template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from segue.core import frozen
from segue.core.media import Placed
from segue.core.tenancy import ORGANISATION, UNLIMITED, WORKSPACE, Limits
from segue.core.tenancy import Role as KeyRole

Role = Literal["system", "user", "assistant", "tool"]


@frozen
class Caller:
    """Who is asking, and what for.  `key` is the key's public identifier, never the secret itself.

    `models` are those of its workspace and `key_models` those of the key, which may use what is in both; a model is in
    them by any name that it answers to, and None is every one.
    `limits` are the key's own, None where it has none; `workspace_limits` are what all keys of the workspace share.
    """

    key: str
    workspace: str
    organisation: str = ORGANISATION
    role: KeyRole = "member"
    models: frozenset[str] | None = None
    key_models: frozenset[str] | None = None
    limits: Limits | None = None
    workspace_limits: Limits = UNLIMITED

    def may_use(self, name: str, served: str) -> bool:
        """May it ask for a model by this name, which `served` answers to?"""
        return _among(self.models, name, served) and _among(self.key_models, name, served)

    @property
    def oversees(self) -> bool:
        """May it see what is of the whole house, such as its counters?"""
        return self.role == "admin" or self.workspace == WORKSPACE


def _among(models: frozenset[str] | None, name: str, served: str) -> bool:
    return models is None or name in models or served in models


@frozen
class ToolCall:
    """A call an assistant made in an earlier turn.  `arguments` is the text it wrote, usually JSON."""

    id: str
    name: str
    arguments: str


@frozen
class Message:
    """One finished turn.  The turn that is to be continued is `Request.prefix`, not a message.  `media` stand in
    `content`, in their order."""

    role: Role
    content: str
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str | None = None
    media: tuple[Placed, ...] = ()


@frozen
class Tool:
    """A function the model may call.  `parameters` is a JSON schema, as loose as the caller sent it."""

    name: str
    description: str
    parameters: Mapping[str, object]


@frozen
class ToolChoice:
    """`auto`, `none`, `required`, or `function` with the one function's name."""

    mode: Literal["auto", "none", "required", "function"] = "auto"
    name: str | None = None


Kind = Literal["text", "json_object", "json_schema", "regex", "grammar"]


@frozen
class Format:
    """The form the answer must have.  `schema` is set for `json_schema` only, `source` for `regex` and
    `grammar` (Lark) only."""

    kind: Kind = "text"
    name: str | None = None
    schema: Mapping[str, object] | None = None
    strict: bool = False
    source: str = ""


@frozen
class Stop:
    """Where the answer ends: before any of these strings, or before any of these token-id runs."""

    strings: tuple[str, ...] = ()
    sequences: tuple[tuple[int, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.strings or self.sequences)


@frozen
class Sampling:
    """Sampling wishes.  `None`: the model's default.

    temperature in [0, 2), 0 is greedy; top_p in (0, 1]; top_k >= 0, 0 or above 100 is off;
    repetition_penalty > 0, 1 is off; presence and frequency penalties in [-2, 2], 0 is off;
    seed in [0, 2**63).
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None


@frozen
class Inspection:
    """Which sides of the exchange the caller wants inspected beyond what the server inspects of itself."""

    input: bool = False
    output: bool = False


UNASKED = Inspection()


@frozen
class Source:
    """A document that a conversation is about: an uploaded file, by its `id`, or a text that was sent with it
    (`id` is None).  Whether there is such a file, nobody knows yet."""

    id: str | None = None
    text: str = ""


@frozen
class Delivery:
    """How the answer is going to be written: as a `stream`, with pieces that repeat what came before
    (`cumulative`: True or False where it was said), as `bare` text without a message around it."""

    stream: bool = False
    cumulative: bool | None = None
    bare: bool = False


@frozen
class Plain:
    """A text to be gone on with, outside of any conversation; `suffix`: what stands behind the hole to be filled, None
    where there is none."""

    text: str
    suffix: str | None = None


@frozen
class Request:
    """One request for an answer.

    `prefix` is the beginning of the answer, given by the caller word for word (Partial Mode);
    `None` when there is none.  `thought` is one of the thought before the answer; where there is a prefix too, it is
    the whole thought, else the model goes on inside it.  With `plain` there is no conversation, but a text.
    `documents` are those of the conversation, in the order of their first mention, and then none of `messages` names
    one; `None` where the model that was asked for reads no documents.  `citations`: the caller wants to know what was
    read of them.  `inspection` is what the caller wants inspected.  `ignored` lists the fields that were read
    past, by wire name.
    """

    id: str
    caller: Caller
    model: str
    messages: tuple[Message, ...]
    prefix: str | None = None
    thought: str | None = None
    plain: Plain | None = None
    delivery: Delivery = field(default_factory=Delivery)
    sampling: Sampling = field(default_factory=Sampling)
    stop: Stop = field(default_factory=Stop)
    output_tokens_max: int | None = None
    choices: int = 1
    logprobs: bool = False
    top_logprobs: int = 0
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    parallel_tool_calls: bool = False
    format: Format = field(default_factory=Format)
    thinking: bool | None = None
    thinking_budget: int | None = None
    deterministic: bool | None = None
    documents: tuple[Source, ...] | None = None
    citations: bool = False
    inspection: Inspection = UNASKED
    ignored: tuple[str, ...] = ()

    @property
    def offered(self) -> tuple[Tool, ...]:
        """The tools that the answer may call."""
        return self.tools if self.tool_choice.mode != "none" else ()
