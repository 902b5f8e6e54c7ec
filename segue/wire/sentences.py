"""The sentences of the model's layer about fields, numbers and messages.

Why: there are many of them and they are the same in both protocols; `wording` says which
protocol gives them which code.  Laws: the service's own literals, in pydantic's manner where it
is pydantic that speaks there; nothing a caller sent appears longer than `QUOTED_CHARS_MAX`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from segue.core.documents import Trouble
from segue.core.errors import (
    DocumentsMixed,
    FieldWrong,
    FileGone,
    FileProcessing,
    FilesTooMany,
    FileTroubled,
    FileUnknown,
    InspectionFailed,
    MessagesInvalid,
    MessageTooLong,
    OutOfRange,
    PrefixIllegal,
    RolesInvalid,
    TokensTooMany,
)

QUOTED_CHARS_MAX = 200
PAGES_MAX = 15_000
"""As the service says it."""

ROLE = (
    'Role must be in ["user", "assistant", "system", "function", "plugin", "tool"] '
    'and the role in last message must be in ["user", "function", "tool"]'
)
COMPAT_ROLES = "['system', 'assistant', 'user', 'tool', 'function']"
CONTENT_STRING = "input content must be a string."
RESPONSE_FORMAT = (
    "Unknown format of response_format, response_format should be a dict, includes 'type' and an optional "
    "key 'json_schema'. The response_format type from user is {}."
)
STOP_MIXED = (
    'The "stop" parameter must be of type "str", "list[str]", "list[int]", or "list[list[int]]", '
    "and all elements within the list must be of the same type."
)
STOP_TYPE = (
    "Input should be a valid list: parameters.stop.list[any] & Input should be a valid string: parameters.stop.str"
)
THINKING: Mapping[str, str] = {
    "text": 'The result_format parameter must be "message" when enable_thinking is true',
    "cumulative": 'The incremental_output parameter must be "true" when enable_thinking is true',
    "whole": "parameter.enable_thinking must be set to false for non-streaming calls",
    "json": "Json mode response is not supported when enable_thinking is true",
    "tool_choice": "The tool_choice parameter does not support being set to required or object in thinking mode",
    "off": "The value of the enable_thinking parameter is restricted to True.",
    "thought": "reasoning_content of a partial message is not supported when enable_thinking is false",  # choice
}
STREAMS: Mapping[str, str] = {
    "whole": "This model only support stream mode, please enable the stream parameter to access the model.",
    "cumulative": "The incremental_output parameter of this model cannot be set to False.",
}
TOOL_CHOICE_SHAPE = (
    "Input should be a valid string: parameters.tool_choice.str & "
    "Field required: parameters.tool_choice.ToolChoice.function"
)


def missing(field: str) -> str:
    """A required field is absent."""
    holder, _, name = field.rpartition(".")
    match name:
        case "content":
            return "The content field is a required field."
        case "function":
            return f"'function' is a required property, expected an object - '{holder}'"
        case _:
            return f"Field required: {field}"


def wrong(fault: FieldWrong) -> str:
    """A field is not what it must be."""
    holder, _, name = fault.field.rpartition(".")
    value = fault.value[:QUOTED_CHARS_MAX]
    match name, fault.expected, fault.got:
        case "tool_choice", "value", _:
            return 'tool_choice is one of the strings that should be ["none", "auto"]'
        case "tool_choice", _, _:
            return TOOL_CHOICE_SHAPE
        case "response_format", _, _:
            return RESPONSE_FORMAT.format(value)
        case "type", "value", "choice" if holder.endswith("response_format"):
            supported = "Supported values are: 'json_object' and 'text'."
            return f"'response_format.type' Invalid value: '{value}'. {supported}"
        case "json_schema", "value", "choice":
            name = "'response_format.json_schema'"
            return f"Unknown parameter: {name}. {name} cannot be provided when 'response_format.type' is 'json_object'."
        case "name", "value", "choice" if holder.endswith("tool_choice.function"):
            return f"tool_choice.function.name must be the name of one of the tools, got '{value}'"  # choice
        case "name", "value", "choice" if holder.endswith("tool_choice"):
            return f"tool_choice.name must be the name of one of the tools, got '{value}'"  # choice
        case "name", "value", "choice":
            return f"Tool names are not allowed to be [{value}]"
        case "tools", "value", "choice":
            return "When 'tools' are provided, 'result_format' must be 'message'."
        case "partial", _, "choice":
            return f"Partial mode is not supported for a message with {value}: {fault.field}"  # choice
        case _, _, "choice":
            allowed = " or ".join(f"'{choice}'" for choice in fault.allowed)
            return f"Input should be {allowed}: {fault.field}"
        case _:
            return f"{_TYPES[fault.expected, fault.got]}: {fault.field}"


_TYPES = {
    ("string", "type"): "Input should be a valid string",
    ("string", "text"): "String should have at most 64 characters",
    ("integer", "type"): "Input should be a valid integer",
    ("integer", "fraction"): "Input should be a valid integer, got a number with a fractional part",
    ("integer", "text"): "Input should be a valid integer, unable to parse string as an integer",
    ("number", "type"): "Input should be a valid number",
    ("number", "fraction"): "Input should be a valid number",
    ("number", "text"): "Input should be a valid number, unable to parse string as a number",
    ("boolean", "type"): "Input should be a valid boolean, unable to interpret input",
    ("list", "type"): "Input should be a valid list",
    ("object", "type"): "Input should be a valid dictionary",
    ("message", "type"): "Input should be a valid dictionary or instance of GPT3Message",
    ("value", "type"): "Input should be a valid value",
}


def outside(fault: OutOfRange) -> str:
    """A number is outside its range."""
    match fault.field:
        case "temperature":
            return "Temperature should be in [0.0, 2.0)"
        case "top_p":
            return "Range of top_p should be (0.0, 1.0]"
        case "top_k":
            return "Parameter top_k be greater than or equal to 0"
        case "repetition_penalty":
            return "Repetition_penalty should be greater than 0.0"
        case "presence_penalty":
            return "Presence_penalty should be in [-2.0, 2.0]"
        case "frequency_penalty":
            return "Frequency_penalty should be in [-2.0, 2.0]"
        case "seed":
            return "Range of seed should be [0, 9223372036854775807]"
        case "n":
            return "Range of n should be [1, 4]" if fault.high != 1 else "Range of n should be [1, 1]"
        case "top_logprobs":
            return "Range of top_logprobs should be [0, 5]"
        case "max_tokens":
            return f"Range of max_tokens should be [1, {fault.high}]"
        case "thinking_budget":
            return f"The thinking_budget parameter must be a positive integer and not greater than {fault.high}"
        case "limit":
            return f"Range of limit should be [1, {fault.high}]"
        case "fps":
            return "Range of fps should be [0.1, 10]"
        case "max_frames" | "min_pixels" | "max_pixels" | "total_pixels":  # choice
            return f"Range of {fault.field} should be [1, {fault.high}]"
        case _:
            assert_never(fault.field)


def no_conversation(fault: MessagesInvalid) -> str:
    """The messages cannot be a conversation."""
    match fault.why:
        case "empty" | "role":
            return ROLE
        case "prompt_and_messages":
            return 'Only one of the parameters "prompt" and "messages" can be present'
        case "neither_prompt_nor_messages":
            return 'Either "prompt" or "messages" must exist and cannot both be none'
        case "no_user":
            return "The input messages do not contain elements with the role of user"
        case "content_type":
            return CONTENT_STRING
        case "tool_without_call":
            return 'messages with role "tool" must be a response to a preceeding message with "tool_calls".'
        case "call_without_arguments":
            return "If tool_calls are present in the message, function.arguments must be defined."
        case "no_json":
            return (
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
            )
        case "template":  # choice: the documented sentence, and then the template's own reason
            return f"An error during model pre-process. {fault.value[:QUOTED_CHARS_MAX]}".rstrip()
        case _:
            assert_never(fault.why)


def prefix_illegal(fault: PrefixIllegal) -> str:
    """A prefix that no answer of the wanted form begins with.  Bytes that are no text are shown as `\\x80`."""
    expected = " or ".join(repr(byte.decode("ascii", "backslashreplace")) for byte in fault.expected)
    return f"Partial content does not fit response_format or tools at byte {fault.at}: expected {expected or 'the end'}"


def no_reading(fault: RolesInvalid | DocumentsMixed | FilesTooMany | MessageTooLong | TokensTooMany) -> str:
    """A conversation about documents that cannot be one."""
    match fault:
        case RolesInvalid():
            return "Role specification invalid, please refer to API documentation for usage."
        case DocumentsMixed():
            return (
                "Multiple types of file system prompt detected, please do not mix file-id and text content in one "
                "request."
            )
        case FilesTooMany():
            return "Too many files provided."
        case MessageTooLong():
            return "Single round file-content exceeds token limit, please use fileid to supply lengthy input."
        case TokensTooMany():
            return f"Total message token length exceed model limit ({fault.limit} tokens)."
        case _:
            assert_never(fault)


def unread(fault: FileUnknown | FileGone | FileProcessing | FileTroubled) -> str:
    """A file that a conversation is about, and that cannot be read."""
    name = f"[id:{fault.id[:QUOTED_CHARS_MAX]}]"
    match fault:
        case FileUnknown():
            return f"Invalid file {name}."
        case FileGone():
            return f"File {name} cannot be found."
        case FileProcessing():
            return "File parsing in progress, please try again later."
        case FileTroubled():
            return f"File {name} {_TROUBLES[fault.trouble]}."
        case _:
            assert_never(fault)


_TROUBLES: dict[Trouble, str] = {
    "blank": "content blank",
    "pages": f"exceeds page limits ({PAGES_MAX} pages)",
    "format": "format is not supported",
    "size": "exceeds size limit",
    "parse": "parsing error",
    "timeout": "prasing timeout",  # the service's own spelling
}


def number(value: float | int) -> str:
    """A number as JSON writes it, within `QUOTED_CHARS_MAX`."""
    return (str(int(value)) if value == int(value) else str(value))[:QUOTED_CHARS_MAX]


def inspected(fault: InspectionFailed) -> str:
    """A text is not wanted here."""
    return f"{'Input' if fault.side == 'input' else 'Output'} data may contain inappropriate content."


def banned(fault: InspectionFailed) -> tuple[str, str]:
    """A text is not wanted here for a reason that has a code of its own: the code and the sentence."""
    match fault.ban:
        case "faq":
            return "FaqRuleBlocked", "Input or output data is blocked by faq rule."
        case "infringement":
            return "IPInfringementSuspect", "Input data is suspected of being involved in IP infringement."
        case _:
            said = "Input or output data may contain inappropriate content with custom rule."
            return "CustomRoleBlocked", said
