"""Every Fault has its words in both protocols, and the literal ones are the literal ones."""

from __future__ import annotations

import pytest

from segue.core import errors
from segue.core.errors import Fault
from segue.wire.wording import INTERNAL, PREFIX, compat, native

ROLE = (
    'Role must be in ["user", "assistant", "system", "function", "plugin", "tool"] '
    'and the role in last message must be in ["user", "function", "tool"]'
)


def leaves(kind: type[Fault]) -> set[type[Fault]]:
    subs = kind.__subclasses__()
    return {kind} if not subs else set().union(*map(leaves, subs))


# fault, native (status, code, sentence), compat (status, code, type, param, sentence)
Row = tuple[Fault, tuple[int, str, str], tuple[int, str, str, str | None, str]]


def algo(fault: Fault, sentence: str) -> Row:
    """A row of the model's layer: the same sentence, prefixed, in both protocols."""
    said = PREFIX + sentence
    return (
        fault,
        (400, "InvalidParameter", said),
        (400, "invalid_parameter_error", "invalid_request_error", None, said),
    )


def about(fault: Fault, sentence: str, status: int = 400) -> Row:
    """A row of the layer that reads documents: the same bare sentence in both protocols."""
    if status == 500:
        return (fault, (500, "InternalError", sentence), (500, "internal_error", "internal_error", None, sentence))
    return (
        fault,
        (400, "InvalidParameter", sentence),
        (400, "invalid_parameter_error", "invalid_request_error", None, sentence),
    )


def inspected(fault: Fault, native_sentence: str, compat_sentence: str) -> Row:
    """A row of a medium that cannot be shown: natively the layer that inspects speaks, else the model's."""
    said = PREFIX + compat_sentence
    return (
        fault,
        (400, "InvalidParameter.DataInspection", native_sentence),
        (400, "invalid_parameter_error", "invalid_request_error", None, said),
    )


BODY = "Required body invalid, please check the request body format."
REQ = "invalid_request_error"
KEY = "Incorrect API key provided. For details, see: https://help.aliyun.com/zh/model-studio/error-code#apikey-error"
NOT_AUTHORIZED = (
    "Access denied: Either you are not authorized to access this workspace, or the workspace does not exist. Please:\n"
    "Verify the workspace configuration.\nCheck your API endpoint settings. "
    "Ensure you are targeting the correct environment."
)
ASYNC = "Current user api does not support asynchronous calls."


def denied(fault: Fault, status: int, code: str, sentence: str) -> Row:
    """A row of those who may not: the code is used as it is for all that the other protocol has."""
    return fault, (status, code, sentence), (status, code, code, None, sentence)


def ours(fault: Fault, sentence: str) -> Row:
    """A row of the administration."""
    return about(fault, sentence)


BURST = (
    "Request rate increased too quickly. To ensure system stability, please adjust your client logic to scale requests "
    "more smoothly over time."
)
QUOTA_NATIVE = "Allocated quota exceeded, please increase your quota limit."
QUOTA_COMPAT = "You exceeded your current quota, please check your plan and billing details."
GOOD_STANDING = "Access denied, please make sure your account is in good standing."
INSPECTED, INSPECTION = (
    "{} data may contain inappropriate content.",
    "<400> InternalError.Algo.DataInspectionFailed: ",
)
CUSTOM = "Input or output data may contain inappropriate content with custom rule."
FAQ = "Input or output data is blocked by faq rule."
INFRINGEMENT = "Input data is suspected of being involved in IP infringement."

ROWS: list[Row] = [
    denied(errors.ModelDenied("qwen-plus"), 403, "Model.AccessDenied", "Model access denied."),
    denied(errors.WorkspaceDenied(), 403, "Workspace.AccessDenied", "Workspace access denied."),
    denied(errors.WorkspaceUnknown("x"), 404, "WorkSpaceNotFound", "WorkSpace can not be found."),
    denied(errors.WorkspaceInvalid(), 401, "NOT AUTHORIZED", NOT_AUTHORIZED),
    denied(errors.AlreadyThere("workspace", "x"), 409, "Conflict", "Workspace x already exists."),
    denied(errors.KeyAbsent("x"), 404, "NotFound", "Not found!"),
    denied(errors.ReplicaAbsent("x"), 404, "NotFound", "Not found!"),
    (
        errors.RoleDenied(),
        (403, "AccessDenied", "Access denied."),
        (403, "access_denied", "access_denied", None, "Access denied."),
    ),
    ours(errors.FieldUnknown("x"), "There is no field x."),
    ours(errors.ValueRefused("role", "One of a, b."), "role: One of a, b."),
    (
        errors.BodyInvalid("secret detail"),
        (400, "InvalidParameter", BODY),
        (400, "invalid_parameter_error", REQ, None, BODY),
    ),
    (
        errors.FieldMissing("model"),
        (400, "BadRequest.EmptyModel", 'Required parameter "model" missing from request.'),
        (400, "missing_required_parameter", REQ, "model", "you must provide a model parameter."),
    ),
    (
        errors.FieldMissing("input"),
        (400, "BadRequest.EmptyInput", "Required input parameter missing from request."),
        (400, "invalid_parameter_error", REQ, None, PREFIX + "Field required: input"),
    ),
    (
        errors.FieldMissing("messages"),
        (400, "InvalidParameter", PREFIX + "Field required: messages"),
        (400, "missing_required_parameter", REQ, "messages", "you must provide a messages parameter"),
    ),
    algo(errors.FieldMissing("messages.0.content"), "The content field is a required field."),
    algo(
        errors.FieldMissing("tools.0.function"),
        "'function' is a required property, expected an object - 'tools.0'",
    ),
    (
        errors.FieldWrong("input", "object"),
        (400, "BadRequest.IllegalInput", "The input parameter requires json format."),
        (400, "invalid_parameter_error", REQ, None, PREFIX + "Input should be a valid dictionary: input"),
    ),
    (
        errors.FieldWrong("temperature", "number"),
        (400, "InvalidParameter", PREFIX + "Input should be a valid number: temperature"),
        (400, "invalid_value", REQ, "temperature", "'temperature' must be Float"),
    ),
    (
        errors.FieldWrong("seed", "integer", "fraction"),
        (
            400,
            "InvalidParameter",
            PREFIX + "Input should be a valid integer, got a number with a fractional part: seed",
        ),
        (400, "invalid_value", REQ, "seed", "'seed' must be Integer"),
    ),
    algo(
        errors.FieldWrong("input.messages.1.partial", "boolean"),
        "Input should be a valid boolean, unable to interpret input: input.messages.1.partial",
    ),
    algo(
        errors.FieldWrong("messages.0", "message"),
        "Input should be a valid dictionary or instance of GPT3Message: messages.0",
    ),
    algo(
        errors.FieldWrong("tool_choice", "value", "choice", "x"),
        'tool_choice is one of the strings that should be ["none", "auto"]',
    ),
    algo(
        errors.FieldWrong("tool_choice", "object"),
        "Input should be a valid string: parameters.tool_choice.str & "
        "Field required: parameters.tool_choice.ToolChoice.function",
    ),
    algo(
        errors.FieldWrong("parameters.response_format", "object", value="str"),
        "Unknown format of response_format, response_format should be a dict, includes 'type' and an optional key "
        "'json_schema'. The response_format type from user is str.",
    ),
    algo(
        errors.FieldWrong("response_format.type", "value", "choice", "xml"),
        "'response_format.type' Invalid value: 'xml'. Supported values are: 'json_object' and 'text'.",
    ),
    algo(
        errors.FieldWrong("response_format.json_schema", "value", "choice", "json_object"),
        "Unknown parameter: 'response_format.json_schema'. 'response_format.json_schema' cannot be provided when "
        "'response_format.type' is 'json_object'.",
    ),
    algo(
        errors.FieldWrong("tools.0.function.name", "value", "choice", "search"),
        "Tool names are not allowed to be [search]",
    ),
    algo(
        errors.FieldWrong("parameters.tools", "value", "choice", "text", ("message",)),
        "When 'tools' are provided, 'result_format' must be 'message'.",
    ),
    algo(
        errors.FieldWrong("parameters.result_format", "value", "choice", "x", ("text", "message")),
        "Input should be 'text' or 'message': parameters.result_format",
    ),
    algo(errors.OutOfRange("temperature", 2), "Temperature should be in [0.0, 2.0)"),
    algo(errors.OutOfRange("top_p", 0), "Range of top_p should be (0.0, 1.0]"),
    algo(errors.OutOfRange("top_k", -1), "Parameter top_k be greater than or equal to 0"),
    algo(errors.OutOfRange("repetition_penalty", 0), "Repetition_penalty should be greater than 0.0"),
    algo(errors.OutOfRange("presence_penalty", 3), "Presence_penalty should be in [-2.0, 2.0]"),
    algo(errors.OutOfRange("frequency_penalty", 3), "Frequency_penalty should be in [-2.0, 2.0]"),
    algo(errors.OutOfRange("n", 5, 4), "Range of n should be [1, 4]"),
    algo(errors.OutOfRange("top_logprobs", 6), "Range of top_logprobs should be [0, 5]"),
    algo(errors.OutOfRange("max_tokens", 0, 8192), "Range of max_tokens should be [1, 8192]"),
    algo(
        errors.OutOfRange("thinking_budget", 0, 99),
        "The thinking_budget parameter must be a positive integer and not greater than 99",
    ),
    (
        errors.OutOfRange("seed", -1),
        (400, "InvalidParameter", PREFIX + "Range of seed should be [0, 9223372036854775807]"),
        (400, "invalid_value", REQ, "seed", "-1 is lesser than the minimum of 0 - 'seed'"),
    ),
    algo(errors.OutOfRange("seed", 2**63), "Range of seed should be [0, 9223372036854775807]"),
    algo(
        errors.StopInvalid(mixed=True),
        'The "stop" parameter must be of type "str", "list[str]", "list[int]", or "list[list[int]]", '
        "and all elements within the list must be of the same type.",
    ),
    algo(
        errors.StopInvalid(mixed=False),
        "Input should be a valid list: parameters.stop.list[any] & Input should be a valid string: parameters.stop.str",
    ),
    (
        errors.MessagesInvalid("empty"),
        (400, "InvalidParameter", PREFIX + ROLE),
        (400, "invalid_value", REQ, "messages", "[] is too short - 'messages'"),
    ),
    (
        errors.MessagesInvalid("role", 0, "developer"),
        (400, "InvalidParameter", PREFIX + ROLE),
        (
            400,
            "invalid_value",
            REQ,
            "messages",
            "developer is not one of ['system', 'assistant', 'user', 'tool', 'function'] - 'messages.['0].role'",
        ),
    ),
    algo(
        errors.MessagesInvalid("prompt_and_messages"),
        'Only one of the parameters "prompt" and "messages" can be present',
    ),
    algo(
        errors.MessagesInvalid("neither_prompt_nor_messages"),
        'Either "prompt" or "messages" must exist and cannot both be none',
    ),
    algo(errors.MessagesInvalid("no_user"), "The input messages do not contain elements with the role of user"),
    algo(errors.MessagesInvalid("content_type"), "input content must be a string."),
    algo(
        errors.MessagesInvalid("tool_without_call"),
        'messages with role "tool" must be a response to a preceeding message with "tool_calls".',
    ),
    algo(
        errors.MessagesInvalid("call_without_arguments"),
        "If tool_calls are present in the message, function.arguments must be defined.",
    ),
    algo(errors.MessagesInvalid("template", value="no"), "An error during model pre-process. no"),
    algo(errors.LastRoleInvalid(), ROLE),
    algo(errors.PartialWithThinking(), "Partial mode is not supported when enable_thinking is true"),
    algo(
        errors.PartialUnclear("continue_final_message", "messages.1.partial"),
        "continue_final_message and messages.1.partial contradict each other",
    ),
    algo(
        errors.StreamsOnly("whole"),
        "This model only support stream mode, please enable the stream parameter to access the model.",
    ),
    algo(errors.StreamsOnly("cumulative"), "The incremental_output parameter of this model cannot be set to False."),
    algo(errors.ThinkingRefused("text"), 'The result_format parameter must be "message" when enable_thinking is true'),
    algo(
        errors.ThinkingRefused("cumulative"),
        'The incremental_output parameter must be "true" when enable_thinking is true',
    ),
    algo(errors.ThinkingRefused("whole"), "parameter.enable_thinking must be set to false for non-streaming calls"),
    algo(errors.ThinkingRefused("json"), "Json mode response is not supported when enable_thinking is true"),
    algo(
        errors.ThinkingRefused("tool_choice"),
        "The tool_choice parameter does not support being set to required or object in thinking mode",
    ),
    algo(errors.ThinkingRefused("off"), "The value of the enable_thinking parameter is restricted to True."),
    algo(
        errors.ThinkingRefused("thought"),
        "reasoning_content of a partial message is not supported when enable_thinking is false",
    ),
    (
        errors.ResponseUnknown("resp_1"),
        (404, "previous_response_not_found", "Response with id 'resp_1' not found."),
        (
            404,
            "previous_response_not_found",
            "previous_response_not_found",
            None,
            "Response with id 'resp_1' not found.",
        ),
    ),
    algo(errors.NotSupported("tools"), "The tool call is not supported."),
    algo(errors.NotSupported("suffix", "m"), "The model m does not support suffix."),
    algo(
        errors.MediumRefused("address"),
        "The provided URL does not appear to be valid. Ensure it is correctly formatted.",
    ),
    inspected(
        errors.MediumRefused("lost"),
        "Unable to download the media resource during the data inspection process.",
        "Failed to download multimodal content",
    ),
    inspected(
        errors.MediumRefused("slow"),
        "Download the media resource timed out during the data inspection process.",
        "Download multimodal file timed out",
    ),
    inspected(
        errors.MediumRefused("barred"),
        "Don't have authorization to access the media resource during the data inspection process.",
        "Failed to download multimodal content",
    ),
    inspected(
        errors.MediumRefused("format"),
        "The media format is not supported or incorrect for the data inspection.",
        "The file format is illegal and cannot be opened.",
    ),
    inspected(
        errors.MediumRefused("broken"),
        "Failed to decode the image during the data inspection.",
        "Failed to decode the image during the data inspection.",
    ),
    inspected(
        errors.MediumRefused("pixels", 900_000_000, 100_000_000),
        "The image size is not supported for the data inspection.",
        "The image size is not supported for the data inspection.",
    ),
    algo(errors.MediumRefused("large", 9, 8), "Multimodal file size is too large"),
    about(
        errors.MediumRefused("long_uri", 10485761, 10485760),
        "Exceeded limit on max bytes per data-uri item : 10485760",
    ),
    about(errors.MediumRefused("many", 251, 250), "Exceeded limit on max data-uri per request: 250"),
    algo(
        errors.MediumRefused("small", 1, 3),
        "The image length and width do not meet the model restrictions. [height:1 or width:3 must be larger than 10]",
    ),
    algo(
        errors.MediumRefused("narrow", 266.7, 200),
        "The image length and width do not meet the model restrictions. "
        "[absolute aspect ratio must be smaller than 200, got 266.7]",
    ),
    algo(
        errors.MediumRefused("frames", 4, 512),
        "The video modality input does not meet the requirements because: "
        "the range of sequence images shoule be (4, 512).",
    ),
    algo(
        errors.MediumRefused("long", 4000, 3600),
        "The video modality input does not meet the requirements because: The video file is too long.",
    ),
    algo(errors.MediumRefused("video"), "Invalid video file."),
    about(errors.EndpointWrong(), "url error, please check url！"),
    algo(errors.OutOfRange("fps", 11), "Range of fps should be [0.1, 10]"),
    algo(errors.OutOfRange("max_frames", 0, 512), "Range of max_frames should be [1, 512]"),
    algo(errors.OutOfRange("min_pixels", 9, 8), "Range of min_pixels should be [1, 8]"),
    algo(errors.OutOfRange("max_pixels", 0, 8), "Range of max_pixels should be [1, 8]"),
    algo(errors.OutOfRange("total_pixels", 0, 8), "Range of total_pixels should be [1, 8]"),
    algo(errors.NotSupported("media"), "input content must be a string."),
    algo(errors.NotSupported("search"), "This model does not support enable_search."),
    algo(
        errors.NotSupported("json_schema"),
        "'response_format.type' Invalid value: 'json_schema'. Supported values are: 'text'.",
    ),
    algo(
        errors.NotSupported("json_object"),
        "'response_format.type' Invalid value: 'json_object'. Supported values are: 'text'.",
    ),
    algo(errors.NotSupported("regex", "m"), "The model m does not support regex."),
    algo(errors.NotSupported("grammar", "m"), "The model m does not support grammar."),
    algo(errors.NotSupported("logprobs", "m"), "The model m does not support logprobs."),
    algo(
        errors.MessagesInvalid("no_json"),
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
    ),
    algo(errors.FormatInvalid('Unimplemented keys: ["not"]'), 'Invalid response_format: Unimplemented keys: ["not"]'),
    algo(
        errors.PrefixIllegal(7, (b"1", b"\n", b"\xe6")),
        "Partial content does not fit response_format or tools at byte 7: expected '1' or '\\n' or '\\\\xe6'",
    ),
    algo(
        errors.PrefixIllegal(7, ()), "Partial content does not fit response_format or tools at byte 7: expected the end"
    ),
    (
        errors.NotSupported("thinking", "m"),
        (400, "InvalidParameter.NotSupportEnableThinking", "The model m does not support enable_thinking."),
        (
            400,
            "InvalidParameter.NotSupportEnableThinking",
            "InvalidParameter.NotSupportEnableThinking",
            None,
            "The model m does not support enable_thinking.",
        ),
    ),
    algo(errors.PromptTooLong(9, 8), "Range of input length should be [1, 8]"),
    about(errors.FileUnknown("xxx"), "Invalid file [id:xxx]."),
    about(errors.FilesTooMany(99), "Too many files provided."),
    about(errors.FileGone("xxx"), "File [id:xxx] cannot be found."),
    about(errors.FileTroubled("xxx", "size"), "File [id:xxx] exceeds size limit."),
    about(errors.FileTroubled("xxx", "pages"), "File [id:xxx] exceeds page limits (15000 pages)."),
    about(
        errors.DocumentsMixed(),
        "Multiple types of file system prompt detected, please do not mix file-id and text content in one request.",
    ),
    about(errors.FileTroubled("xxx", "format"), "File [id:xxx] format is not supported."),
    about(errors.FileTroubled("xxx", "blank"), "File [id:xxx] content blank."),
    about(errors.TokensTooMany(10_000_000), "Total message token length exceed model limit (10000000 tokens)."),
    about(
        errors.MessageTooLong(9000),
        "Single round file-content exceeds token limit, please use fileid to supply lengthy input.",
    ),
    about(errors.RolesInvalid(), "Role specification invalid, please refer to API documentation for usage."),
    about(errors.FileProcessing("xxx"), "File parsing in progress, please try again later."),
    about(errors.FileTroubled("xxx", "parse"), "File [id:xxx] parsing error.", 500),
    about(errors.FileTroubled("xxx", "timeout"), "File [id:xxx] prasing timeout.", 500),
    (
        errors.TooLarge("body", 1),
        (400, "BadRequest.TooLarge", "Payload Too Large."),
        (400, "BadRequest.TooLarge", "BadRequest.TooLarge", None, "Payload Too Large."),
    ),
    algo(errors.TooLarge("stop", 64), "Range of stop length should be [1, 64]"),
    algo(errors.TooLarge("tools", 128), "Range of tools length should be [1, 128]"),
    algo(errors.TooLarge("schemas", 9), "The parameters of all tools together must have at most 9 bytes"),
    algo(
        errors.FieldWrong("parameters.tool_choice.function.name", "value", "choice", "nobody"),
        "tool_choice.function.name must be the name of one of the tools, got 'nobody'",
    ),
    (
        errors.MethodNotAllowed("GET"),
        (405, "InvalidParameter", "Request method 'GET' is not supported."),
        (405, "invalid_parameter_error", REQ, None, "Request method 'GET' is not supported."),
    ),
    (errors.PathUnknown(), (404, "NotFound", "Not found!"), (404, "NotFound", "NotFound", None, "Not found!")),
    (
        errors.KeyInvalid(),
        (401, "InvalidApiKey", "Invalid API-key provided."),
        (401, "invalid_api_key", REQ, None, KEY),
    ),
    (errors.AsyncDenied(), (403, "AccessDenied", ASYNC), (403, "access_denied", "access_denied", None, ASYNC)),
    (
        errors.ModelUnknown("x"),
        (404, "ModelNotFound", "The model x does not exist."),
        (404, "model_not_found", REQ, None, "The model `x` does not exist or you do not have access to it."),
    ),
    (
        errors.QueueFull(),
        (429, "Throttling", "Too many requests in route. Please try again later."),
        (429, "limit_requests", "limit_requests", None, "You exceeded your current requests list."),
    ),
    (
        errors.EngineLost(),
        (503, "ModelUnavailable", "Model is unavailable, please try again later."),
        (503, "ModelUnavailable", "ModelUnavailable", None, "Model is unavailable, please try again later."),
    ),
    (
        errors.StoreLost("the password is hunter2"),
        (500, "SystemError", "An system error has occured, please try again later."),
        (500, "SystemError", "SystemError", None, "An system error has occured, please try again later."),
    ),
    (
        errors.TimedOut(),
        (500, "RequestTimeOut", "Request timed out, please try again later."),
        (500, "RequestTimeOut", "RequestTimeOut", None, "Request timed out, please try again later."),
    ),
    (
        errors.EngineFailed("secret detail"),
        (500, "InternalError.Algo", "inference internal error."),
        (500, "internal_error", "internal_error", None, "inference internal error."),
    ),
    (
        errors.Internal(),
        (500, "InternalError", INTERNAL),
        (500, "internal_error", "internal_error", None, INTERNAL),
    ),
    about(errors.FileAbsent("file-fe-1"), "File not found."),
    (
        errors.PurposeWrong("assistants"),
        (400, "InvalidParameter", "'purpose' must be 'file-extract'"),
        (400, "", REQ, "purpose", "'purpose' must be 'file-extract'"),
    ),
    (
        errors.QuotaFull("files", 10),
        (400, "BadRequest.TooMany", "Out of number, <10> of <10> files has been uploaded."),
        (400, "invalid_parameter_error", REQ, None, "Upload file number exceed limit."),
    ),
    about(errors.QuotaFull("bytes", 10), "Upload file capacity exceed limit."),
    (
        errors.TooLarge("file", 10),
        (400, "BadRequest.TooLarge", "Payload Too Large."),
        (400, "BadRequest.TooLarge", "BadRequest.TooLarge", None, "Payload Too Large."),
    ),
    algo(errors.OutOfRange("limit", 0, 2000), "Range of limit should be [1, 2000]"),
    (
        errors.RateExceeded(0.5),
        (429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later."),
        (429, "limit_requests", "limit_requests", None, "You exceeded your current requests list."),
    ),
    (
        errors.BurstExceeded(0.5),
        (429, "Throttling.BurstRate", BURST),
        (429, "limit_burst_rate", "limit_burst_rate", None, BURST),
    ),
    (
        errors.TokenRateExceeded(12.2),
        (429, "Throttling.AllocationQuota", QUOTA_NATIVE),
        (429, "insufficient_quota", "insufficient_quota", None, QUOTA_COMPAT),
    ),
    (
        errors.PlacesTaken(1.0),
        (429, "Throttling.Concurrency", "Too many concurrent requests."),
        (429, "Throttling.Concurrency", "Throttling.Concurrency", None, "Too many concurrent requests."),
    ),
    (
        errors.QuotaSpent("tokens", 3600.0),
        (429, "Throttling.AllocationQuota", QUOTA_NATIVE),
        (429, "insufficient_quota", "insufficient_quota", None, QUOTA_COMPAT),
    ),
    (
        errors.QuotaSpent("money", 3600.0),
        (400, "Arrearage", GOOD_STANDING),
        (400, "Arrearage", "Arrearage", None, GOOD_STANDING),
    ),
    (
        errors.InspectionFailed("input"),
        (400, "DataInspectionFailed", INSPECTED.format("Input")),
        (400, "data_inspection_failed", "data_inspection_failed", None, INSPECTION + INSPECTED.format("Input")),
    ),
    (
        errors.InspectionFailed("output"),
        (400, "DataInspectionFailed", INSPECTED.format("Output")),
        (400, "data_inspection_failed", "data_inspection_failed", None, INSPECTION + INSPECTED.format("Output")),
    ),
    (
        errors.InspectionFailed("output", "custom"),
        (400, "CustomRoleBlocked", CUSTOM),
        (400, "CustomRoleBlocked", "CustomRoleBlocked", None, CUSTOM),
    ),
    (
        errors.InspectionFailed("output", "faq"),
        (400, "FaqRuleBlocked", FAQ),
        (400, "FaqRuleBlocked", "FaqRuleBlocked", None, FAQ),
    ),
    (
        errors.InspectionFailed("input", "infringement"),
        (400, "IPInfringementSuspect", INFRINGEMENT),
        (400, "IPInfringementSuspect", "IPInfringementSuspect", None, INFRINGEMENT),
    ),
    (
        errors.InspectionLost(),
        (503, "ModelUnavailable", "Model is unavailable, please try again later."),
        (503, "ModelUnavailable", "ModelUnavailable", None, "Model is unavailable, please try again later."),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: repr(row[0])[:60])
def test_words(row: Row) -> None:
    fault, said_natively, said_compatibly = row
    said = native(fault)
    assert (said.status, said.code, said.sentence) == said_natively
    said = compat(fault)
    assert (said.status, said.code, said.type, said.param, said.sentence) == said_compatibly


def test_every_fault_has_a_row() -> None:
    assert {type(fault) for fault, _, _ in ROWS} == leaves(Fault)


def test_no_detail_for_the_log_gets_out() -> None:
    for fault, _, _ in ROWS:
        assert "secret" not in native(fault).sentence + compat(fault).sentence


@pytest.mark.parametrize(
    "fault",
    [
        errors.ModelUnknown("x" * 10**6),
        errors.MethodNotAllowed("X" * 10**6),
        errors.OutOfRange("seed", -(10**4000)),
        errors.FieldWrong("tools.0.type", "value", "choice", "x" * 10**6, ("function",)),
        errors.MessagesInvalid("template", value="x" * 10**6),
        errors.FileUnknown("x" * 10**6),
    ],
)
def test_what_the_caller_sent_is_quoted_briefly(fault: Fault) -> None:
    assert len(native(fault).sentence) < 500
    assert len(compat(fault).sentence) < 500


def test_busy_says_when_to_come_back() -> None:
    assert native(errors.QueueFull()).retry_after_s == compat(errors.QueueFull()).retry_after_s == 1
    assert native(errors.EngineLost()).retry_after_s == native(errors.StoreLost("")).retry_after_s == 1
