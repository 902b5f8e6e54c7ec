"""`segue complete`: continue a text from the shell, with a running server or one of our own.

Laws: standard output has the continuation and nothing else; one candidate is written as it comes,
several in turn.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from segue.cli.terminal import MISUSED, ConfigOption, KeyOption, Stop, UrlOption, err, out, say, write

_CHOICES_MAX = 4


class Candidate(msgspec.Struct):
    """One continuation, as `--jsonl` writes it."""

    index: int
    text: str = ""
    finish_reason: str | None = None


def complete(
    prefix: Annotated[str | None, typer.Argument(help="The text to continue; `-` or nothing: standard input.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the text from this file.")] = None,
    prompt: Annotated[str | None, typer.Option(help="What is asked for; default: to continue the text.")] = None,
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Text and continuation together are a JSON object.")] = False,
    schema: Annotated[Path | None, typer.Option(help="Together they fit the JSON schema in this file.")] = None,
    regex: Annotated[str | None, typer.Option(help="Together they match this expression.")] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, max=_CHOICES_MAX, help="How many continuations.")] = 1,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="A line of JSON each, for another program.")] = False,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of the continuation.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, max=1.999, help="0 takes the likeliest.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same choice.")] = None,
    model: Annotated[str | None, typer.Option(help="Model; default: the server's own.")] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Write the text itself first.")] = False,
    url: UrlOption = None,
    key: KeyOption = "",
    config: ConfigOption = None,
) -> None:
    """Continue a text exactly where it stops.  Only the continuation is written, to standard output."""
    if sum((json, schema is not None, regex is not None)) > 1:
        raise Stop("--json, --schema and --regex exclude each other", MISUSED)
    form = _form(json, schema, regex)
    text = _text(prefix, file, bool(prompt))
    if prompt is None:
        prompt = "Continue the JSON." if json or schema is not None else "Continue the text."
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    wishes = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed, "n": n if n > 1 else None}
    body = {
        "messages": [*messages, *([{"role": "assistant", "content": text, "partial": True}] if text else [])],
        **{name: wish for name, wish in wishes.items() if wish is not None},
        **form,
    }
    from segue.cli.own import opened  # here, since it imports the server

    with opened(url, key, model, config) as there:
        if n == 1 and not jsonl:
            one = _streamed(there.url, there.key, {"model": there.model, **body}, text if echo else "")
            if one == "length" and err().is_terminal:
                say("(cut at the token limit)")
        else:
            _in_turn(_candidates(there.url, there.key, {"model": there.model, **body}), text if echo else "", jsonl)


def _form(json: bool, schema: Path | None, regex: str | None) -> dict[str, object]:
    """What the text must look like, as the API has it.  Raises Stop."""
    if json:
        return {"response_format": {"type": "json_object"}}
    if regex is not None:
        return {"regex": regex}
    if schema is None:
        return {}
    try:
        wanted = msgspec.json.decode(schema.read_bytes(), type=dict[str, object])
    except OSError as error:
        raise Stop(f"{schema}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise Stop(f"{schema} is no JSON schema: {error}", MISUSED) from error
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "wanted", "schema": wanted}}}


def _text(prefix: str | None, file: Path | None, prompted: bool) -> str:
    """The text to continue, to the byte: no newline is added or taken away.  Raises Stop."""
    if file and prefix:
        raise Stop("give the text or a file, not both", MISUSED)
    if prefix and prefix != "-":
        return prefix
    if file is None and prefix is None and sys.stdin.isatty():
        if prompted:
            return ""
        raise Stop("there is no text to continue: give it, or -f FILE, or standard input", MISUSED)
    try:
        data = file.read_bytes() if file else sys.stdin.buffer.read()
        return data.decode("utf-8")
    except OSError as error:
        raise Stop(f"{error.filename}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Stop(f"the text is not UTF-8: {error.reason} at byte {error.start}") from error


def _streamed(url: str, key: str, body: Mapping[str, object], before: str) -> str:
    """Write the one continuation as it comes, behind `before`; why it ended.  Raises Stop."""
    from segue.cli.remote import Piece, streamed  # here, since an HTTP client is slow to import

    reason = ""
    if before:
        write(before)
    try:
        with closing(streamed(url, key, body)) as pieces:
            for piece in pieces:
                if isinstance(piece, Piece):
                    if piece.text:
                        write(piece.text)
                    reason = piece.ended or reason
    finally:
        if sys.stdout.isatty():
            write("\n")
    return reason


def _candidates(url: str, key: str, body: Mapping[str, object]) -> list[Candidate]:
    """All continuations, whole.  Raises Stop."""
    from segue.cli.remote import Piece, streamed

    found: dict[int, Candidate] = {}
    for piece in streamed(url, key, body):
        if isinstance(piece, Piece):
            one = found.setdefault(piece.choice, Candidate(piece.choice))
            one.text += piece.text
            one.finish_reason = piece.ended or one.finish_reason
    return [found[index] for index in sorted(found)]


def _in_turn(candidates: list[Candidate], before: str, jsonl: bool) -> None:
    """Write them, each a line of JSON; or as texts that end with a newline, under their numbers for a person."""
    for place, one in enumerate(candidates, 1):
        one.text = before + one.text
        if jsonl:
            write(msgspec.json.encode(one).decode() + "\n")
            continue
        if err().is_terminal and out().is_terminal:
            err().print(f"{place} of {len(candidates)} ({one.finish_reason})", style="dim", markup=False)
        write(one.text if one.text.endswith("\n") else one.text + "\n")
