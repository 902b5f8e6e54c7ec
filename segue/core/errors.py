"""Every way a request can fail, one class a cause.

    Fault
      Refused                       the caller can mend it (4xx)
        BodyInvalid                   not JSON, not an object, too deep, broken text
        FieldMissing                  a required field is absent or null
        FieldWrong                    a field has the wrong type or shape
        OutOfRange                    a number is outside its documented range
        StopInvalid                   `stop` mixes kinds or has a kind of its own
        MessagesInvalid               the list of messages cannot be a conversation
        LastRoleInvalid               the last message is nobody's turn to answer
        PartialWithThinking           a prefix and thinking exclude each other
        PartialUnclear                what is said about a prefix contradicts itself
        ThinkingRefused               a wish to think that does not go with the rest of the request
        FormatInvalid                 no answer can keep to the wanted form, or it is not supported
        PrefixIllegal                 no answer of the wanted form begins with the prefix
        NotSupported                  a documented feature this model does not have
        MediumRefused                 a picture or video that cannot be shown to a model
        EndpointWrong                 an endpoint that is not for this model, or not for what is sent to it
        PromptTooLong                 the prompt, prefix included, exceeds the context
        RolesInvalid                  a conversation about documents is not put together as its model wants it
        DocumentsMixed                files and texts as documents of one conversation
        FilesTooMany                  more files than one conversation may be about
        MessageTooLong                one message is longer than a model of documents takes it
        TokensTooMany                 messages and documents together exceed the limit
        TooLarge                      body, header or message count beyond the limit
        FileUnknown                   no such file, or another workspace's
        FileGone                      it was deleted
        FileProcessing                it is still being read
        FileTroubled                  it could not be read
        FileAbsent                    a call of the Files API names a file that is not there
        ResponseUnknown               no such response to go on from, or another workspace's
        PurposeWrong                  a file is for something that files are not kept for
        QuotaFull                     as many files, or bytes of them, as may be kept
        FieldUnknown                  an administrative act has a field that there is not
        ValueRefused                  a value in an administrative act that cannot be
        KeyAbsent                     an administrative act names a key that is not there
        AlreadyThere                  what is to be made is there
        MethodNotAllowed, PathUnknown
        InspectionFailed              the content of the request, or of its answer, is not wanted here
      Denied                        who asks may not
        KeyInvalid
        RoleDenied                    the key's role does not cover it
        AsyncDenied                   X-DashScope-Async on text generation
        ModelUnknown
        QuotaSpent                    the month's tokens, or its money, are spent
        ModelDenied                   the workspace, or the key, was not authorised for the model
        WorkspaceInvalid              X-DashScope-WorkSpace is no workspace's id
        WorkspaceDenied               it is not the key's own workspace
        WorkspaceUnknown              there is no such workspace
      Busy                          not now (429 / 503)
        QueueFull
        RateExceeded                  more requests than there may be, in a minute, or in a second of the Files API
        BurstExceeded                 more requests in a second than there may be
        TokenRateExceeded             more tokens in a minute than there may be
        PlacesTaken                   as many requests run as may run at a time
      Broken                        our side (5xx)
        EngineLost                    the engine's process died under the request
        EngineFailed                  the engine could not go on
        StoreLost                     the database cannot be reached, or takes too long
        TimedOut
        InspectionLost                whoever inspects contents cannot be asked
        Internal                      a mistake of ours

Laws: a Fault is raised where the cause is known and worded where the protocol is known; it
carries facts, never a status, a code or a sentence for the caller.
"""

from __future__ import annotations

from typing import Literal

from segue.core.documents import Trouble


class Fault(Exception):
    """A request cannot be answered.  Subclasses say why."""


class Refused(Fault):
    """The request itself is at fault."""


class BodyInvalid(Refused):
    """The body is not a JSON object in UTF-8.  `detail` is for the log only."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class FieldMissing(Refused):
    """A required field is absent.  `field` is its path in the vocabulary: model, messages, input, content..."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


Expected = Literal["string", "integer", "number", "boolean", "list", "object", "message", "value"]


class FieldWrong(Refused):
    """A field is not what it must be.

    `field` is its wire path (`messages.1.partial`, `top_p`); `expected` its type; `got` how the
    value failed: another `type`, a `fraction` where an integer belongs, unparsable `text`, an
    unknown `choice` (then `value` and `allowed` are set).
    """

    def __init__(
        self,
        field: str,
        expected: Expected,
        got: Literal["type", "fraction", "text", "choice"] = "type",
        value: str = "",
        allowed: tuple[str, ...] = (),
    ) -> None:
        super().__init__(field, expected, got, value)
        self.field = field
        self.expected = expected
        self.got = got
        self.value = value
        self.allowed = allowed


Ranged = Literal[
    "temperature",
    "top_p",
    "top_k",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "n",
    "top_logprobs",
    "max_tokens",
    "thinking_budget",
    "limit",
    "fps",
    "max_frames",
    "min_pixels",
    "max_pixels",
    "total_pixels",
]


class OutOfRange(Refused):
    """A number is outside its range.  `high` is set where the bound is the model's own."""

    def __init__(self, field: Ranged, value: float | int, high: int | None = None) -> None:
        super().__init__(field, value)
        self.field: Ranged = field
        self.value = value
        self.high = high


class StopInvalid(Refused):
    """`stop` is not a string, strings, token ids or token-id lists; `mixed` when it is several."""

    def __init__(self, mixed: bool) -> None:
        super().__init__(mixed)
        self.mixed = mixed


class MessagesInvalid(Refused):
    """The messages cannot be a conversation.

    `why` names the rule; `index` the message, where one is at fault; `value` what was found there,
    or, for `template`, the reason that the model's own template gave.
    """

    def __init__(
        self,
        why: Literal[
            "empty",
            "prompt_and_messages",
            "neither_prompt_nor_messages",
            "no_user",
            "role",
            "content_type",
            "tool_without_call",
            "call_without_arguments",
            "template",
            "no_json",
        ],
        index: int = -1,
        value: str = "",
    ) -> None:
        super().__init__(why, index, value)
        self.why = why
        self.index = index
        self.value = value


class LastRoleInvalid(Refused):
    """The last message is an assistant's without the partial flag, or a system message."""


class PartialWithThinking(Refused):
    """`partial` and `enable_thinking` exclude each other."""


class PartialUnclear(Refused):
    """Two statements about whether the last message is a prefix contradict each other.  `one` and `other` are their
    wire names."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one, other)
        self.one = one
        self.other = other


class ThinkingRefused(Refused):
    """Thinking, or none, does not go with what else is asked for.

    `why`: the answer is written as bare `text`, `cumulative`, or `whole` by a model that thinks in streams only; it
    has a form (`json`); a call is demanded (`tool_choice`); the model always thinks and is told not to (`off`); a
    thought is to be gone on with and thinking is off (`thought`).
    """

    def __init__(self, why: Literal["text", "cumulative", "whole", "json", "tool_choice", "off", "thought"]) -> None:
        super().__init__(why)
        self.why = why


class StreamsOnly(Refused):
    """The model answers in streams, and in increments: not `whole`, not `cumulative`."""

    def __init__(self, why: Literal["whole", "cumulative"]) -> None:
        super().__init__(why)
        self.why = why


class NotSupported(Refused):
    """A documented feature that the served model, or this version, does not have."""

    def __init__(
        self,
        feature: Literal[
            "tools",
            "json_object",
            "json_schema",
            "regex",
            "grammar",
            "media",
            "thinking",
            "search",
            "suffix",
            "logprobs",
        ],
        model: str = "",
    ) -> None:
        super().__init__(feature, model)
        self.feature = feature
        self.model = model


Unfit = Literal[
    "address",
    "lost",
    "slow",
    "barred",
    "large",
    "long_uri",
    "many",
    "format",
    "broken",
    "small",
    "narrow",
    "pixels",
    "frames",
    "long",
    "video",
]


class MediumRefused(Refused):
    """A picture or video of a conversation cannot be shown to a model.

    `why`: its address is none (`address`); it cannot be had (`lost`), not in time (`slow`), or not without leave
    (`barred`); it, or all of them together, have too many bytes (`large`), as a data URI (`long_uri`), or there are
    too many (`many`); it is of no known `format`, or `broken`; its sides are too short (`small`), or one is too long
    beside the other (`narrow`), or it has too many `pixels`; it has too many or too few `frames`, or goes on for too
    `long`; it is no `video` that can be read.  `one` and `other` are the numbers it is about:
    height and width, fewest and most, or what there was, as far as it is told, and the limit.
    """

    def __init__(self, why: Unfit, one: float = 0, other: float = 0) -> None:
        super().__init__(why, one, other)
        self.why: Unfit = why
        self.one = one
        self.other = other


class EndpointWrong(Refused):
    """The endpoint is for models that see, and the model does not; or for text, and there are pictures."""


class FormatInvalid(Refused):
    """A schema, regex or grammar that cannot be kept to.  `reason` names what is at fault in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PrefixIllegal(Refused):
    """No answer of the wanted form begins with the prefix.  `at` is the offset in bytes of the first one that
    cannot stand there; `expected` are some that can, none where the answer had to end."""

    def __init__(self, at: int, expected: tuple[bytes, ...]) -> None:
        super().__init__(at, expected)
        self.at = at
        self.expected = expected


class PromptTooLong(Refused):
    """The prompt with its prefix has more tokens than `limit`."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(tokens, limit)
        self.tokens = tokens
        self.limit = limit


class RolesInvalid(Refused):
    """Turns of a conversation with a model that reads documents that do not alternate, or end with nobody's."""


class DocumentsMixed(Refused):
    """Some documents are uploaded files, others are texts."""


class FilesTooMany(Refused):
    """More than `limit` files."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class MessageTooLong(Refused):
    """A message of its own has more tokens than `limit`; a document of that length is to be uploaded."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class TokensTooMany(Refused):
    """The messages and the whole text of every document have more tokens than `limit`."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class TooLarge(Refused):
    """More than `limit` of something: body bytes, header bytes, messages, tools, bytes of their schemas, of a file."""

    def __init__(
        self, what: Literal["body", "headers", "messages", "stop", "tools", "schemas", "file"], limit: int
    ) -> None:
        super().__init__(what, limit)
        self.what = what
        self.limit = limit


class FileUnknown(Refused):
    """A message names a file that this workspace never had, or has forgotten that it had."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class FileGone(Refused):
    """A message names a file that was deleted, before or under the request."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class FileProcessing(Refused):
    """A message names a file that is still being read."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class FileTroubled(Refused):
    """A message names a file that could not be read; for `parse` and `timeout` the fault is ours."""

    def __init__(self, id: str, trouble: Trouble) -> None:
        super().__init__(id, trouble)
        self.id = id
        self.trouble: Trouble = trouble


class FileAbsent(Refused):
    """A call of the Files API names a file that this workspace does not have."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class ResponseUnknown(Refused):
    """There is no response of this id to go on from: it never was, is kept no more, or is another workspace's."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class PurposeWrong(Refused):
    """Files are not kept for this purpose."""

    def __init__(self, purpose: str) -> None:
        super().__init__(purpose)
        self.purpose = purpose


class QuotaFull(Refused):
    """A workspace has as many `files`, or `bytes` of them, as it may; `limit` is how many."""

    def __init__(self, what: Literal["files", "bytes"], limit: int) -> None:
        super().__init__(what, limit)
        self.what = what
        self.limit = limit


class FieldUnknown(Refused):
    """An administrative act has a field that there is not: it may be a misspelt limit, so it is not read past."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class ValueRefused(Refused):
    """A value in an administrative act that cannot be.  `reason` is a sentence of ours."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


class KeyAbsent(Refused):
    """An administrative act names a key that is not there."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class ReplicaAbsent(Refused):
    """An administrative act names a replica that is not there."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class AlreadyThere(Refused):
    """What is to be made is there, or was there once."""

    def __init__(self, what: Literal["workspace", "replica", "upload"], id: str) -> None:
        super().__init__(what, id)
        self.what = what
        self.id = id


class MethodNotAllowed(Refused):
    """The path exists, the method does not."""

    def __init__(self, method: str) -> None:
        super().__init__(method)
        self.method = method


class PathUnknown(Refused):
    """No such path."""


Side = Literal["input", "output"]
Ban = Literal["content", "custom", "faq", "infringement"]


class InspectionFailed(Refused):
    """The `side` of an exchange that was inspected is not wanted here; `ban` is the kind of rule that says so."""

    def __init__(self, side: Side, ban: Ban = "content") -> None:
        super().__init__(side, ban)
        self.side: Side = side
        self.ban: Ban = ban


class Denied(Fault):
    """The caller may not."""


class KeyInvalid(Denied):
    """No key, a malformed one, or one we never issued."""


class RoleDenied(Denied):
    """The key is good, and its role does not cover what is asked for."""


class AsyncDenied(Denied):
    """Asynchronous tasks do not exist for text generation."""


class ModelUnknown(Denied):
    """No served model answers to this name."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.model = model


class QuotaSpent(Denied):
    """What a key or a workspace may use in a month is used: `tokens`, or `money`; the next begins in `wait_s`."""

    def __init__(self, what: Literal["tokens", "money"], wait_s: float) -> None:
        super().__init__(what, wait_s)
        self.what = what
        self.wait_s = wait_s


class ModelDenied(Denied):
    """The workspace was not authorised for the model, or the key may not use it."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.model = model


class WorkspaceInvalid(Denied):
    """The workspace that a caller named has no workspace's form of an id."""


class WorkspaceDenied(Denied):
    """The caller named a workspace that is not the key's own; whether it is there, only who may know is told."""


class WorkspaceUnknown(Denied):
    """There is no such workspace."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class Busy(Fault):
    """Not now."""


class QueueFull(Busy):
    """As many requests wait as may wait."""


class _Limited(Busy):
    """More than there may be; it may be tried again after `wait_s`."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


class RateExceeded(_Limited):
    """More requests in a minute, or calls of the Files API in a second, than a key or a workspace may make."""


class BurstExceeded(_Limited):
    """More requests in a second."""


class TokenRateExceeded(_Limited):
    """More tokens in a minute."""


class PlacesTaken(_Limited):
    """As many requests of a key or a workspace run as may run at a time."""


class Broken(Fault):
    """Our side failed."""


class EngineLost(Broken):
    """The engine's process died; it is being started again."""


class EngineFailed(Broken):
    """The engine reported that it cannot go on.  `detail` is for the log only."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class StoreLost(Broken):
    """The database cannot be reached, or took too long.  `detail` is for the log only."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class TimedOut(Broken):
    """A limit of time was reached."""


class InspectionLost(Broken):
    """Whoever inspects contents cannot be asked, and nothing may pass that was not inspected."""


class Internal(Broken):
    """A mistake of ours; the log has the trace."""
