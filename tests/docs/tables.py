"""The tables of the documentation that follow from the code.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`.  `test_tables` compares;
`python -m tests.docs.tables` writes them anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from segue.catalogue.read import read_catalogue
from segue.cli.talk import COMMANDS
from segue.core import errors
from segue.core.errors import Fault, FieldMissing, FieldWrong, MessagesInvalid, NotSupported, OutOfRange, TooLarge
from segue.metrics import MEANINGS, TIMES
from segue.wire.admin.operations import BASE, OPERATIONS
from segue.wire.anthropic.read import FIELDS as ANTHROPIC
from segue.wire.dashscope.read import FIELDS as DASHSCOPE
from segue.wire.fields import Field
from segue.wire.openai.batches import FIELDS as BATCHES
from segue.wire.openai.completions import FIELDS as COMPLETIONS
from segue.wire.openai.read import FIELDS as OPENAI
from segue.wire.responses.read import FIELDS as RESPONSES
from segue.wire.wording import PREFIX, Wording, compat, native
from tests.docs import sizing
from tests.docs.keywords import rows as keyword_rows

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"(?<=<!-- table: )([a-z-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)

ONLY_DASHSCOPE, ONLY_OPENAI = "(DashScope)", "(OpenAI)"

# When a Fault comes about, by heading.  The ellipsis stands for what the caller sent; what ends in
# the name of a protocol cannot happen in the other one.
FAULTS: Mapping[str, Sequence[tuple[str, Fault]]] = {
    "Path, key and body": [
        ("no such path", errors.PathUnknown()),
        ("wrong method on a known path", errors.MethodNotAllowed("GET")),
        ("no key, a malformed one, or one that was never issued", errors.KeyInvalid()),
        ("the key's role does not cover what is asked for", errors.RoleDenied()),
        ("`X-DashScope-WorkSpace` has no id's form", errors.WorkspaceInvalid()),
        ("`X-DashScope-WorkSpace` is not the key's own workspace", errors.WorkspaceDenied()),
        ("there is no such workspace; told to an administrator only", errors.WorkspaceUnknown("…")),
        ("`X-DashScope-Async: enable`", errors.AsyncDenied()),
        ("the body is not a JSON object in UTF-8", errors.BodyInvalid("")),
        ("the body has more bytes than `server.body_bytes_max`", TooLarge("body", 1)),
        ("headers, or a query, have too many bytes (`server.header_bytes_max`)", TooLarge("headers", 1)),
        ("more messages than `server.messages_max`", TooLarge("messages", 1)),
    ],
    "Model": [
        ("no model answers to this name", errors.ModelUnknown("…")),
        ("the workspace, or the key, may not use the model", errors.ModelDenied("…")),
        ("`model` is absent", FieldMissing("model")),
    ],
    "Fields that are absent": [
        ("`input` is absent (DashScope)", FieldMissing("input")),
        ("`messages` is absent (OpenAI)", FieldMissing("messages")),
        ("a message without `content`", FieldMissing("messages.0.content")),
        ("a tool without `function`", FieldMissing("tools.0.function")),
        ("any other required field", FieldMissing("messages.0.role")),
    ],
    "Fields of the wrong kind": [
        ("`input` is not an object (DashScope)", FieldWrong("input", "object")),
        ("not a number", FieldWrong("temperature", "number")),
        ("a string that is no number (DashScope)", FieldWrong("parameters.top_p", "number", "text")),
        ("not an integer", FieldWrong("top_k", "integer")),
        ("an integer with a fraction", FieldWrong("top_k", "integer", "fraction")),
        ("a string that is no integer (DashScope)", FieldWrong("parameters.top_k", "integer", "text")),
        ("not a string", FieldWrong("model", "string")),
        (
            "`json_schema.name` has more than 64 characters",
            FieldWrong("response_format.json_schema.name", "string", "text"),
        ),
        ("not a boolean", FieldWrong("messages.1.partial", "boolean")),
        ("not a list", FieldWrong("messages", "list")),
        ("not an object", FieldWrong("stream_options", "object")),
        ("a message that is not an object", FieldWrong("messages.0", "message")),
        (
            "another value than those there are",
            FieldWrong("parameters.result_format", "value", "choice", "…", ("text", "message")),
        ),
        ("`stop` of another kind", errors.StopInvalid(mixed=False)),
        ("`stop` of several kinds", errors.StopInvalid(mixed=True)),
        ("`stop` with too many entries, or too long ones", TooLarge("stop", 64)),
    ],
    "Numbers out of range": [
        ("`temperature`", OutOfRange("temperature", 2.0)),
        ("`top_p`", OutOfRange("top_p", 0.0)),
        ("`top_k`", OutOfRange("top_k", -1)),
        ("`repetition_penalty`", OutOfRange("repetition_penalty", 0.0)),
        ("`presence_penalty`", OutOfRange("presence_penalty", 3.0)),
        ("`frequency_penalty`", OutOfRange("frequency_penalty", 3.0)),
        ("`seed` below 0", OutOfRange("seed", -1)),
        ("`seed` above 2⁶³-1", OutOfRange("seed", 2**63)),
        ("`n`", OutOfRange("n", 5, 4)),
        ("`n` together with tools", OutOfRange("n", 2, 1)),
        ("`top_logprobs`", OutOfRange("top_logprobs", 6, 5)),
        ("`max_tokens`; the bound is the model's", OutOfRange("max_tokens", 0, 8192)),
    ],
    "Messages and Partial Mode": [
        ("`messages` is empty", MessagesInvalid("empty")),
        ("a role there is not", MessagesInvalid("role", 0, "developer")),
        ("content that is neither a string nor text parts", MessagesInvalid("content_type")),
        ("no message of a user", MessagesInvalid("no_user")),
        ("both `prompt` and `messages` (DashScope)", MessagesInvalid("prompt_and_messages")),
        ("neither `prompt` nor `messages` (DashScope)", MessagesInvalid("neither_prompt_nor_messages")),
        ("a `tool` message that answers no call", MessagesInvalid("tool_without_call")),
        ("a call in the history without arguments", MessagesInvalid("call_without_arguments")),
        ("the model's template refuses the conversation, with its reason", MessagesInvalid("template", value="…")),
        ("the last message is an assistant's without `partial`, or a system message", errors.LastRoleInvalid()),
        ("`partial` and `enable_thinking` together", errors.PartialWithThinking()),
        (
            "what is said about a prefix contradicts itself (OpenAI)",
            errors.PartialUnclear("continue_final_message", "messages.1.partial"),
        ),
        (
            "`partial` on a message with `tool_calls`",
            FieldWrong("messages.1.partial", "boolean", "choice", "tool_calls"),
        ),
        ("prompt and prefix together leave no room in the context", errors.PromptTooLong(2, 32767)),
    ],
    "Pictures and videos": [
        ("an address that is none", errors.MediumRefused("address")),
        (
            "it cannot be fetched, or may not be: an internal address is told like a lost one",
            errors.MediumRefused("lost"),
        ),
        ("it takes longer than `media.fetch_s`, or `media.video_fetch_s`", errors.MediumRefused("slow")),
        ("whoever has it wants a key", errors.MediumRefused("barred")),
        (
            "it is larger than `media.image_bytes_max` or `media.video_bytes_max`, or all are larger than "
            "`media.images_bytes_max`",
            errors.MediumRefused("large"),
        ),
        ("a data URI is longer than `media.uri_bytes_max`", errors.MediumRefused("long_uri", 0, 10 * 1024**2)),
        ("more of them than `media.media_max`", errors.MediumRefused("many", 0, 250)),
        ("bytes of no format that is read", errors.MediumRefused("format")),
        ("a picture that is cut off or broken", errors.MediumRefused("broken")),
        ("more pixels than `media.pixels_max`", errors.MediumRefused("pixels")),
        ("a side of fewer than 10 pixels", errors.MediumRefused("small", 1, 1)),
        ("a side 200 times as long as the other", errors.MediumRefused("narrow", 266.7, 200)),
        ("a list of fewer frames than 4, or more than 512", errors.MediumRefused("frames", 4, 512)),
        ("a video that goes on for longer than `media.video_s_max`", errors.MediumRefused("long")),
        ("a video that cannot be read", errors.MediumRefused("video")),
        ("`fps`", OutOfRange("fps", 11)),
        ("`min_pixels`, which is not above `max_pixels`", OutOfRange("min_pixels", 9, 8)),
        ("`max_pixels`", OutOfRange("max_pixels", 0, 2**40)),
        ("`total_pixels`", OutOfRange("total_pixels", 0, 2**40)),
        ("`max_frames`", OutOfRange("max_frames", 0, 100_000)),
        (
            "a model without sight at the multimodal endpoint, or pictures at that of texts (DashScope)",
            errors.EndpointWrong(),
        ),
    ],
    "Responses": [
        ("no such response in this workspace, or not any more (OpenAI)", errors.ResponseUnknown("…")),
    ],
    "Streams": [
        ("a model that answers in streams only is asked for a whole answer", errors.StreamsOnly("whole")),
        ("likewise, and `incremental_output` is `false` (DashScope)", errors.StreamsOnly("cumulative")),
    ],
    "Thinking": [
        ("the answer is written as text (DashScope)", errors.ThinkingRefused("text")),
        ("`incremental_output` is `false` in a stream (DashScope)", errors.ThinkingRefused("cumulative")),
        ("a model that thinks in streams only is asked for a whole answer", errors.ThinkingRefused("whole")),
        ("the answer has a form", errors.ThinkingRefused("json")),
        ("a call is demanded", errors.ThinkingRefused("tool_choice")),
        ("`n` above 1", OutOfRange("n", 2, 1)),
        ("a model that always thinks is told not to", errors.ThinkingRefused("off")),
        ("a thought is to be gone on with, and `enable_thinking` is `false`", errors.ThinkingRefused("thought")),
        ("a thought is to be gone on with by a model that cannot think", NotSupported("thinking", "…")),
        ("`thinking_budget`; the bound is the model's longest answer", OutOfRange("thinking_budget", 0, 8192)),
    ],
    "Documents": [
        (
            "user and assistant do not take turns (profile `2024`), or the last message is nobody's to answer",
            errors.RolesInvalid(),
        ),
        ("files and texts as documents of one conversation", errors.DocumentsMixed()),
        ("more files than `documents.files_max`", errors.FilesTooMany(99)),
        ("no such file, or another workspace's", errors.FileUnknown("…")),
        ("the file was deleted", errors.FileGone("…")),
        ("the file is still being parsed after `documents.parse_wait_s`", errors.FileProcessing("…")),
        ("the file is of a kind that is not read", errors.FileTroubled("…", "format")),
        ("it is too large", errors.FileTroubled("…", "size")),
        ("it has too many pages", errors.FileTroubled("…", "pages")),
        ("there is no text in it", errors.FileTroubled("…", "blank")),
        ("its parser gave up", errors.FileTroubled("…", "parse")),
        ("its parser took too long", errors.FileTroubled("…", "timeout")),
        (
            "a message is longer than `documents.message_tokens_max`, or all texts sent as documents than "
            "`documents.text_tokens_max`",
            errors.MessageTooLong(9000),
        ),
        ("messages and documents are longer than `documents.total_tokens_max`", errors.TokensTooMany(10_000_000)),
    ],
    "Files": [
        ("no such file in this workspace, in a call of the Files API", errors.FileAbsent("…")),
        ("`purpose` is absent, or neither `file-extract` nor `batch`", errors.PurposeWrong("…")),
        ("the file is larger than its kind may be (`files.document_bytes_max`, ...)", TooLarge("file", 1)),
        ("the workspace has `files.files_max` files", errors.QuotaFull("files", 10_000)),
        ("the workspace's files would have more than `files.bytes_max` bytes", errors.QuotaFull("bytes", 1)),
        ("`limit` of a list is out of range", OutOfRange("limit", 0, 2000)),
        (
            "more uploads in a second than `files.uploads_per_s`, or other calls than `files.calls_per_s`",
            errors.RateExceeded(0.5),
        ),
    ],
    "Tools and forms of the answer": [
        (
            "tools, with a model whose template prints none; a demanded call, with one that is not kept to a form",
            NotSupported("tools"),
        ),
        ("`tool_choice` is another word", FieldWrong("tool_choice", "value", "choice", "…", ("none", "auto"))),
        ("`tool_choice` of another shape", FieldWrong("tool_choice", "object")),
        (
            "`tool_choice` names a function that is not among the tools",
            FieldWrong("tool_choice.function.name", "value", "choice", "…"),
        ),
        ("a call is demanded, and there are no tools", FieldMissing("tools")),
        ("more than 128 tools", TooLarge("tools", 128)),
        ("the parameters of all tools together are too long", TooLarge("schemas", 65536)),
        (
            "tools together with a form of the answer",
            errors.FormatInvalid("tools and a form of the answer exclude each other"),
        ),
        ("a tool named `search`", FieldWrong("tools.0.function.name", "value", "choice", "search")),
        (
            "tools, or `n` above 1, with `result_format` `text` (DashScope)",
            FieldWrong("parameters.tools", "value", "choice"),
        ),
        ("JSON mode, with a model that has it not", NotSupported("json_object")),
        ("a JSON schema, likewise", NotSupported("json_schema")),
        ("a regex, likewise", NotSupported("regex", "…")),
        ("a grammar, likewise", NotSupported("grammar", "…")),
        ("log probabilities, of an upstream that does not tell them", NotSupported("logprobs", "…")),
        ("JSON mode, and no system or user message has the word", MessagesInvalid("no_json")),
        ("a schema, regex or grammar that cannot be kept to; the reason follows", errors.FormatInvalid("…")),
        (
            "a prefix that no answer of the wanted form begins with; the byte, and what could stand there",
            errors.PrefixIllegal(9, (b'"', b"1")),
        ),
        ("`response_format` of another shape", FieldWrong("response_format", "object", value="str")),
        ("`response_format.type` is another word", FieldWrong("response_format.type", "value", "choice", "…")),
        ("`json_schema` beside type `json_object`", FieldWrong("response_format.json_schema", "value", "choice")),
    ],
    "Not served": [
        ("pictures, sound, video, documents in a message", NotSupported("media")),
        ("web search", NotSupported("search")),
        ("`suffix`, by a model without tokens for a hole (OpenAI)", NotSupported("suffix", "…")),
    ],
    "Administration": [
        ("a field there is not", errors.FieldUnknown("…")),
        ("a value that cannot be; the reason follows", errors.ValueRefused("limits.concurrent", "…")),
        ("no such key", errors.KeyAbsent("…")),
        ("no such replica of the model", errors.ReplicaAbsent("…")),
        ("a workspace of this id is there, or was", errors.AlreadyThere("workspace", "…")),
    ],
    "Limits and quotas": [
        (
            "more requests in a minute than the key, the workspace or the model has",
            errors.RateExceeded(0.5),
        ),
        ("more requests in a second", errors.BurstExceeded(0.5)),
        ("more tokens in a minute", errors.TokenRateExceeded(0.5)),
        ("as many requests run as may run at a time", errors.PlacesTaken(0.5)),
        ("the month's tokens are used", errors.QuotaSpent("tokens", 1.0)),
        ("the month's money is used", errors.QuotaSpent("money", 1.0)),
    ],
    "Inspection": [
        ("what is asked holds what is not wanted", errors.InspectionFailed("input")),
        ("what is answered does, also in mid-stream", errors.InspectionFailed("output")),
        ("the service that inspects says `custom`", errors.InspectionFailed("output", "custom")),
        ("it says `faq`", errors.InspectionFailed("output", "faq")),
        ("it says `infringement`", errors.InspectionFailed("input", "infringement")),
        ("it cannot be asked, and `moderation.callout_closed` is true", errors.InspectionLost()),
    ],
    "Load and failures": [
        ("as many answers wait as may wait (`engine.queue`)", errors.QueueFull()),
        ("the engine is starting, or died under the answer twice", errors.EngineLost()),
        ("the database cannot be reached, or took too long; the log has the reason", errors.StoreLost("")),
        ("a limit of time was reached", errors.TimedOut()),
        ("the engine could not go on; the log has the reason", errors.EngineFailed("")),
        ("a mistake of ours; the log has the trace", errors.Internal()),
    ],
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def fields(known: Mapping[str, Field]) -> str:
    """What becomes of each documented field."""
    rows = [(f"`{name}`", field.status, field.reason) for name, field in known.items()]
    return table(("field", "here", "note"), rows)


def faults() -> str:
    """Every code and sentence in both protocols, under headings."""
    parts = []
    for heading, rows in FAULTS.items():
        head = ("when", "HTTP", "DashScope code", "OpenAI code, type", "message")
        parts.append(f"### {heading}\n\n" + table(head, [_fault(*row) for row in rows]))
    return "\n".join(parts)


def _fault(when: str, fault: Fault) -> tuple[str, ...]:
    one, other = native(fault), compat(fault)
    assert one.status == other.status, fault
    kind = "" if other.type == other.code else f", `{other.type}`"
    param = f", param `{other.param}`" if other.param else ""
    codes = (f"`{one.code}`", f"`{other.code}`{kind}{param}")
    status = str(one.status)
    if when.endswith(ONLY_DASHSCOPE):
        return (when, status, codes[0], "-", _said(one))
    if when.endswith(ONLY_OPENAI):
        return (when, status, "-", codes[1], _said(other))
    said = _said(one) if _said(one) == _said(other) else f"DashScope: {_said(one)}<br>OpenAI: {_said(other)}"
    return (when, status, *codes, said)


def _said(wording: Wording) -> str:
    """The sentence as code; a dagger stands for the prefix of the model's layer."""
    fence = "``" if "`" in wording.message else "`"
    if wording.prefix != PREFIX and wording.prefixed:
        return f"`{wording.sentence}`"
    pad = " " if wording.message.startswith("`") or wording.message.endswith("`") else ""
    return f"{fence}{pad}{wording.message}{pad}{fence}" + (" †" if wording.prefixed else "")


def models() -> str:
    """The built-in models."""
    rows = []
    for entry in read_catalogue().entries.values():
        size = f"{entry.bytes / 1e6:,.0f} MB" if entry.bytes else "-"
        how = entry.decoding
        drawn = f"{how.temperature:g} / {how.top_p:g} / {how.top_k} / {how.repetition_penalty:g}"
        lengths = (f"{entry.context_tokens:,}", f"{entry.output_tokens_default:,} / {entry.output_tokens_max:,}")
        rows.append((f"`{entry.name}`", entry.engine, size, *lengths, drawn, entry.licence or "-"))
    lengths_head = ("context, tokens", "answer, default / most")
    drawn_head = "temperature / top_p / top_k / repetition_penalty"
    return table(("model", "engine", "file", *lengths_head, drawn_head, "licence"), rows)


def stand_ins() -> str:
    """The names the default model answers to."""
    known = read_catalogue().stand_ins
    parts = (("Exact names", known.names), ("Families", known.patterns), ("Never stood in for", known.exceptions))
    return "\n".join(f"{title}: " + ", ".join(f"`{name}`" for name in names) + ".\n" for title, names in parts)


def keywords() -> str:
    """What becomes of each keyword of JSON Schema."""
    return table(("keyword", "here", "note"), keyword_rows())


def administration() -> str:
    """What the administration can be asked."""
    return table(("", "path", "does"), [(each.method, f"`{BASE}{each.path}`", each.summary) for each in OPERATIONS])


def metrics_told() -> str:
    """Every metric of `/metrics`, but for those of the engines."""
    counters = [(f"`segue_{name}_total`", meaning) for name, meaning in MEANINGS.items()]
    times = [(f"`segue_{name}_seconds`", f"{meaning} A histogram.") for name, meaning in TIMES.items()]
    return table(("metric", "meaning"), [*counters, *times])


def chat() -> str:
    """The commands of a talk."""
    rows = [f"| `{f'/{name} {how}'.rstrip()}` | {what} |" for name, (_, how, what) in COMMANDS.items()]
    return "\n".join(["| command | what it does |", "|---|---|", *rows, ""])


def sizing_told() -> str:
    """The figures from which the size of a cluster follows."""
    return table(("figure", "", "from"), sizing.rows())


TABLES: Mapping[str, Callable[[], str]] = {
    "sizing": sizing_told,
    "metrics": metrics_told,
    "administration": administration,
    "openai-fields": lambda: fields(OPENAI),
    "anthropic-fields": lambda: fields(ANTHROPIC),
    "chat": chat,
    "batch-fields": lambda: fields(BATCHES),
    "completions-fields": lambda: fields(COMPLETIONS),
    "responses-fields": lambda: fields(RESPONSES),
    "dashscope-fields": lambda: fields(DASHSCOPE),
    "faults": faults,
    "keywords": keywords,
    "models": models,
    "stand-ins": stand_ins,
}


def renewed(text: str) -> str:
    """The page with its tables as they must be."""
    return BLOCK.sub(lambda found: f"{found[1]}{found[2]}\n{TABLES[found[1]]()}\n", text)


def pages() -> list[Path]:
    """Every page of the documentation."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])


if __name__ == "__main__":
    for page in pages():
        before = page.read_text(encoding="utf-8")
        if (after := renewed(before)) != before:
            page.write_text(after, encoding="utf-8")
            print(page.relative_to(ROOT))
