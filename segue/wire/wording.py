"""What every Fault is called in each protocol: status, code, type and sentence.

Why: clients match on these literals, so they are the service's own, spelling mistakes included,
and they stand in one place.  Laws: one table; every Fault class is in it (a test enumerates
them); nothing a caller sent appears longer than `QUOTED_CHARS_MAX`; a detail meant for the log
never gets out.  Errors of the model's layer carry `PREFIX`, errors of the gateway do not.
Choices where the service's documents are silent or disagree are marked `choice`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from segue.core.errors import (
    AlreadyThere,
    AsyncDenied,
    BodyInvalid,
    BurstExceeded,
    DocumentsMixed,
    EndpointWrong,
    EngineFailed,
    EngineLost,
    Fault,
    FieldMissing,
    FieldUnknown,
    FieldWrong,
    FileAbsent,
    FileGone,
    FileProcessing,
    FilesTooMany,
    FileTroubled,
    FileUnknown,
    FormatInvalid,
    InspectionFailed,
    InspectionLost,
    KeyAbsent,
    KeyInvalid,
    LastRoleInvalid,
    MediumRefused,
    MessagesInvalid,
    MessageTooLong,
    MethodNotAllowed,
    ModelDenied,
    ModelUnknown,
    NotSupported,
    OutOfRange,
    PartialUnclear,
    PartialWithThinking,
    PathUnknown,
    PlacesTaken,
    PrefixIllegal,
    PromptTooLong,
    PurposeWrong,
    QueueFull,
    QuotaFull,
    QuotaSpent,
    RateExceeded,
    ReplicaAbsent,
    ResponseUnknown,
    RoleDenied,
    RolesInvalid,
    StopInvalid,
    StoreLost,
    StreamsOnly,
    ThinkingRefused,
    TimedOut,
    TokenRateExceeded,
    TokensTooMany,
    TooLarge,
    ValueRefused,
    WorkspaceDenied,
    WorkspaceInvalid,
    WorkspaceUnknown,
)
from segue.wire import sentences, unseen
from segue.wire.sentences import QUOTED_CHARS_MAX, ROLE

PREFIX = "<400> InternalError.Algo.InvalidParameter: "
INSPECTION_PREFIX = "<400> InternalError.Algo.DataInspectionFailed: "
KEY_NATIVE = "Invalid API-key provided."
KEY_COMPAT = (
    "Incorrect API key provided. For details, see: https://help.aliyun.com/zh/model-studio/error-code#apikey-error"
)
BURST = (
    "Request rate increased too quickly. To ensure system stability, please adjust your client logic to scale requests "
    "more smoothly over time."
)
NOT_AUTHORIZED = (
    "Access denied: Either you are not authorized to access this workspace, or the workspace does not exist. Please:\n"
    "Verify the workspace configuration.\n"
    "Check your API endpoint settings. Ensure you are targeting the correct environment."
)
INTERNAL = "An internal error has occured, please try again later or contact service support."


@dataclass(frozen=True, slots=True)
class Wording:
    """An error as one protocol says it.

    `code` and `type` are the protocol's own (an empty code is none; `type` and `param` are the OpenAI-compatible
    one's only); `prefixed` marks an error of the model's layer, whose message then begins with `prefix`.
    """

    status: int
    code: str
    type: str
    message: str
    param: str | None = None
    prefixed: bool = False
    retry_after_s: int | None = None
    prefix: str = PREFIX

    @property
    def sentence(self) -> str:
        """The message as it is sent."""
        return self.prefix + self.message if self.prefixed else self.message


def native(fault: Fault) -> Wording:
    """A Fault in DashScope's words."""
    match fault:
        case FieldMissing(field="model"):
            return _gateway("BadRequest.EmptyModel", 'Required parameter "model" missing from request.')
        case FieldMissing(field="input"):
            return _gateway("BadRequest.EmptyInput", "Required input parameter missing from request.")
        case FieldWrong(field="input"):
            return _gateway("BadRequest.IllegalInput", "The input parameter requires json format.")
        case MessagesInvalid(why="empty" | "role"):
            return _parameter(ROLE)
        case KeyInvalid():
            return Wording(401, "InvalidApiKey", "", KEY_NATIVE)
        case RoleDenied():
            return Wording(403, "AccessDenied", "", "Access denied.")
        case AsyncDenied():
            return Wording(403, "AccessDenied", "", "Current user api does not support asynchronous calls.")
        case ModelUnknown():
            return Wording(404, "ModelNotFound", "", f"The model {fault.model[:QUOTED_CHARS_MAX]} does not exist.")
        case QueueFull():
            said = "Too many requests in route. Please try again later."
            return Wording(429, "Throttling", "", said, retry_after_s=1)
        case RateExceeded():
            said = "Requests rate limit exceeded, please try again later."
            return Wording(429, "Throttling.RateQuota", "", said, retry_after_s=_seconds(fault.wait_s))
        case BurstExceeded():
            return Wording(429, "Throttling.BurstRate", "", BURST, retry_after_s=_seconds(fault.wait_s))
        case TokenRateExceeded() | QuotaSpent(what="tokens"):
            said = "Allocated quota exceeded, please increase your quota limit."
            return Wording(429, "Throttling.AllocationQuota", "", said, retry_after_s=_seconds(fault.wait_s))
        case InspectionFailed(ban="content"):
            return _gateway("DataInspectionFailed", sentences.inspected(fault))
        case MediumRefused() if inspected := unseen.inspected(fault):
            return _gateway("InvalidParameter.DataInspection", inspected)
        case QuotaFull(what="files"):
            said = f"Out of number, <{fault.limit}> of <{fault.limit}> files has been uploaded."
            return _gateway("BadRequest.TooMany", said)
        case _:
            return _common(fault)


def compat(fault: Fault) -> Wording:
    """A Fault in the OpenAI-compatible endpoint's words."""
    match fault:
        case FieldMissing(field="model" | "messages"):
            said = f"you must provide a {fault.field} parameter" + ("." if fault.field == "model" else "")
            return _schema(said, fault.field, "missing_required_parameter")
        case FieldWrong(expected="number", field=field):
            return _schema(f"'{field}' must be Float", field)
        case FieldWrong(expected="integer", field=field):
            return _schema(f"'{field}' must be Integer", field)
        case OutOfRange(field="seed", value=value) if value < 0:
            return _schema(f"{sentences.number(value)} is lesser than the minimum of 0 - 'seed'", "seed")
        case MessagesInvalid(why="empty"):
            return _schema("[] is too short - 'messages'", "messages")
        case MessagesInvalid(why="role"):
            # The quoting is the service's own.
            said = f"{fault.value} is not one of {sentences.COMPAT_ROLES} - 'messages.['{fault.index}].role'"
            return _schema(said, "messages")
        case KeyInvalid():
            return Wording(401, "invalid_api_key", "invalid_request_error", KEY_COMPAT)
        case AsyncDenied():
            denied = "Current user api does not support asynchronous calls."
            return Wording(403, "access_denied", "access_denied", denied)
        case RoleDenied():
            return Wording(403, "access_denied", "access_denied", "Access denied.")
        case ModelUnknown():
            said = f"The model `{fault.model[:QUOTED_CHARS_MAX]}` does not exist or you do not have access to it."
            return Wording(404, "model_not_found", "invalid_request_error", said)
        case PurposeWrong():  # without a code, as recorded
            return _schema("'purpose' must be 'file-extract'", "purpose", "")
        case QueueFull() | RateExceeded():
            said, wait_s = "You exceeded your current requests list.", getattr(fault, "wait_s", 1.0)
            return Wording(429, "limit_requests", "limit_requests", said, retry_after_s=_seconds(wait_s))
        case BurstExceeded():
            code = "limit_burst_rate"
            return Wording(429, code, code, BURST, retry_after_s=_seconds(fault.wait_s))
        case TokenRateExceeded() | QuotaSpent(what="tokens"):
            code = "insufficient_quota"
            said = "You exceeded your current quota, please check your plan and billing details."
            return Wording(429, code, code, said, retry_after_s=_seconds(fault.wait_s))
        case InspectionFailed(ban="content"):
            code, said = "data_inspection_failed", sentences.inspected(fault)
            return Wording(400, code, code, said, prefixed=True, prefix=INSPECTION_PREFIX)
        case _:
            return _in_compat_codes(_common(fault))


def _in_compat_codes(wording: Wording) -> Wording:
    """Codes without an OpenAI-like name are used as they are, for code and type both."""
    match wording.code:
        case "InvalidParameter":
            return replace(wording, code="invalid_parameter_error", type="invalid_request_error")
        case "InternalError" | "InternalError.Algo":
            return replace(wording, code="internal_error", type="internal_error")
        case code:
            return replace(wording, type=code)


def _common(fault: Fault) -> Wording:
    """The causes both protocols word alike, under the native code."""
    match fault:
        case BodyInvalid():
            return _gateway("InvalidParameter", "Required body invalid, please check the request body format.")
        case FieldMissing():
            return _parameter(sentences.missing(fault.field))
        case FieldWrong():
            return _parameter(sentences.wrong(fault))
        case OutOfRange():
            return _parameter(sentences.outside(fault))
        case StopInvalid():
            return _parameter(sentences.STOP_MIXED if fault.mixed else sentences.STOP_TYPE)
        case MessagesInvalid():
            return _parameter(sentences.no_conversation(fault))
        case LastRoleInvalid():
            return _parameter(ROLE)
        case PartialWithThinking():
            return _parameter("Partial mode is not supported when enable_thinking is true")
        case PartialUnclear():  # choice
            return _parameter(f"{fault.one} and {fault.other} contradict each other")
        case ThinkingRefused():
            return _parameter(sentences.THINKING[fault.why])
        case StreamsOnly():
            return _parameter(sentences.STREAMS[fault.why])
        case NotSupported():
            return _not_supported(fault)
        case MediumRefused(why="long_uri" | "many"):
            return _gateway("InvalidParameter", unseen.said(fault))
        case MediumRefused():
            return _parameter(unseen.said(fault))
        case EndpointWrong():
            return _gateway("InvalidParameter", unseen.ENDPOINT)
        case FormatInvalid():  # choice: the documents know no such refusal
            return _parameter(f"Invalid response_format: {fault.reason[:QUOTED_CHARS_MAX]}")
        case PrefixIllegal():  # choice
            return _parameter(sentences.prefix_illegal(fault))
        case PromptTooLong():
            return _parameter(f"Range of input length should be [1, {fault.limit}]")
        case FileUnknown() | FileGone() | FileProcessing() | FileTroubled():
            return _file(fault)
        case RolesInvalid() | DocumentsMixed() | FilesTooMany() | MessageTooLong() | TokensTooMany():
            return _gateway("InvalidParameter", sentences.no_reading(fault))
        case ResponseUnknown():
            said = f"Response with id '{fault.id[:QUOTED_CHARS_MAX]}' not found."
            return Wording(404, "previous_response_not_found", "", said)
        case FileAbsent():
            return _gateway("InvalidParameter", "File not found.")
        case PurposeWrong():  # choice: natively no purpose was ever seen to be refused
            return _gateway("InvalidParameter", "'purpose' must be 'file-extract'")
        case QuotaFull():
            number_or_capacity = "number" if fault.what == "files" else "capacity"
            return _gateway("InvalidParameter", f"Upload file {number_or_capacity} exceed limit.")
        case TooLarge(what="stop"):
            return _parameter(f"Range of stop length should be [1, {fault.limit}]")  # choice
        case TooLarge(what="tools"):
            return _parameter(f"Range of tools length should be [1, {fault.limit}]")  # choice
        case TooLarge(what="schemas"):  # choice
            return _parameter(f"The parameters of all tools together must have at most {fault.limit} bytes")
        case TooLarge():
            return _gateway("BadRequest.TooLarge", "Payload Too Large.")
        case ModelDenied():
            return Wording(403, "Model.AccessDenied", "", "Model access denied.")
        case WorkspaceInvalid() | WorkspaceDenied() | WorkspaceUnknown():
            return _workspace(fault)
        case FieldUnknown() | ValueRefused() | KeyAbsent() | ReplicaAbsent() | AlreadyThere():
            return _administered(fault)
        case MethodNotAllowed():
            # choice: the documents list the sentence under 400; 405 is what HTTP calls it.
            said = f"Request method '{fault.method[:QUOTED_CHARS_MAX]}' is not supported."
            return Wording(405, "InvalidParameter", "", said)
        case PathUnknown():
            return Wording(404, "NotFound", "", "Not found!")
        case PlacesTaken():
            said = "Too many concurrent requests."
            return Wording(429, "Throttling.Concurrency", "", said, retry_after_s=_seconds(fault.wait_s))
        case QuotaSpent():
            return _gateway("Arrearage", "Access denied, please make sure your account is in good standing.")
        case InspectionFailed():
            return _gateway(*sentences.banned(fault))
        case EngineLost() | InspectionLost():
            said = "Model is unavailable, please try again later."
            return Wording(503, "ModelUnavailable", "", said, retry_after_s=1)
        case StoreLost():
            said = "An system error has occured, please try again later."
            return Wording(500, "SystemError", "", said, retry_after_s=1)
        case TimedOut():
            return Wording(500, "RequestTimeOut", "", "Request timed out, please try again later.")
        case EngineFailed():
            return Wording(500, "InternalError.Algo", "", "inference internal error.")
        case _:  # Internal, and any Fault nobody has worded, which a test forbids
            return Wording(500, "InternalError", "", INTERNAL)


def _seconds(wait_s: float) -> int:
    """A wait in whole seconds, as `retry-after` has it; never so short that it is over too soon."""
    return max(1, math.ceil(wait_s))


def _parameter(message: str) -> Wording:
    """An error of the model's layer."""
    return Wording(400, "InvalidParameter", "", message, prefixed=True)


def _gateway(code: str, message: str) -> Wording:
    return Wording(400, code, "", message)


def _file(fault: FileUnknown | FileGone | FileProcessing | FileTroubled) -> Wording:
    """A file that cannot be read for an answer: the caller's to mend, but for what went wrong in reading it."""
    said = sentences.unread(fault)
    if isinstance(fault, FileTroubled) and fault.trouble in ("parse", "timeout"):
        return Wording(500, "InternalError", "", said)
    return _gateway("InvalidParameter", said)


def _workspace(fault: WorkspaceInvalid | WorkspaceDenied | WorkspaceUnknown) -> Wording:
    """A workspace that the caller cannot have.  choice: the documents give three refusals and not which is when."""
    match fault:
        case WorkspaceInvalid():
            return Wording(401, "NOT AUTHORIZED", "", NOT_AUTHORIZED)
        case WorkspaceDenied():
            return Wording(403, "Workspace.AccessDenied", "", "Workspace access denied.")
        case WorkspaceUnknown():
            return Wording(404, "WorkSpaceNotFound", "", "WorkSpace can not be found.")


def _administered(fault: FieldUnknown | ValueRefused | KeyAbsent | ReplicaAbsent | AlreadyThere) -> Wording:
    """A refusal of the administration, which is ours; the codes are the service's."""
    match fault:
        case FieldUnknown():
            return _gateway("InvalidParameter", f"There is no field {fault.field[:QUOTED_CHARS_MAX]}.")
        case ValueRefused():
            return _gateway("InvalidParameter", f"{fault.field}: {fault.reason}")
        case KeyAbsent() | ReplicaAbsent():
            return Wording(404, "NotFound", "", "Not found!")
        case AlreadyThere():
            said = f"{fault.what.capitalize()} {fault.id[:QUOTED_CHARS_MAX]} already exists."
            return Wording(409, "Conflict", "", said)


def _schema(message: str, param: str, code: str = "invalid_value") -> Wording:
    """An error of the compatible endpoint's own schema check."""
    return Wording(400, code, "invalid_request_error", message, param)


def _not_supported(fault: NotSupported) -> Wording:
    match fault.feature:
        case "tools":
            return _parameter("The tool call is not supported.")
        case "regex" | "grammar" | "logprobs":  # choice: extensions of ours, and what some upstreams lack
            return _parameter(f"The model {fault.model[:QUOTED_CHARS_MAX]} does not support {fault.feature}.")
        case "json_object" | "json_schema":  # choice: the sentence for a wrong type, with what is left
            return _parameter(f"'response_format.type' Invalid value: '{fault.feature}'. Supported values are: 'text'.")
        case "suffix":  # choice
            return _parameter(f"The model {fault.model[:QUOTED_CHARS_MAX]} does not support suffix.")
        case "media":
            return _parameter(sentences.CONTENT_STRING)
        case "thinking":
            said = f"The model {fault.model[:QUOTED_CHARS_MAX]} does not support enable_thinking."
            return _gateway("InvalidParameter.NotSupportEnableThinking", said)
        case "search":
            return _parameter("This model does not support enable_search.")
