"""`segue complete`: continue a text from the shell, with the engine in this process or a running server."""

from __future__ import annotations

import asyncio
import sys
import uuid
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from segue.app import house_of, names_of
from segue.cli.terminal import MISUSED, ConfigOption, Stop, err, fetched, say
from segue.config import Settings
from segue.config_read import load
from segue.core.events import Ended, Failed, Text
from segue.core.request import Caller, Message, Request, Sampling
from segue.pipeline import Pipeline


def complete(
    prefix: Annotated[str | None, typer.Argument(help="The text to continue; `-` or nothing: standard input.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the text from this file.")] = None,
    prompt: Annotated[str, typer.Option(help="What the user asks for.")] = "Continue the text.",
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of the continuation.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, max=1.999, help="0 takes the likeliest.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same choice.")] = None,
    model: Annotated[str | None, typer.Option(help="Model; default: the default model.")] = None,
    url: Annotated[str | None, typer.Option(help="Ask this server, e.g. http://127.0.0.1:8000.")] = None,
    key: Annotated[str, typer.Option(envvar="DASHSCOPE_API_KEY", help="Key for --url.", show_envvar=True)] = "",
    echo: Annotated[bool, typer.Option("--echo", help="Write the text itself first.")] = False,
    config: ConfigOption = None,
) -> None:
    """Continue a text exactly where it stops.  Only the continuation is written, to standard output."""
    settings = load({"models.default": None if url else model}, file=config)
    text = _read(prefix, file)
    messages = (*((Message("system", system),) if system else ()), Message("user", prompt))
    request = Request(
        id=str(uuid.uuid4()),
        caller=Caller("terminal", "default"),
        model=model or settings.models.default,
        messages=messages,
        prefix=text or None,
        sampling=Sampling(temperature=temperature, seed=seed),
        output_tokens_max=max_tokens,
    )
    if echo:
        _write(text)
    reason = _remotely(request, url, key) if url else asyncio.run(_here(request, settings))
    if sys.stdout.isatty():
        _write("\n")
    if reason == "length" and err().is_terminal:
        say("(cut at the token limit)")


def _read(prefix: str | None, file: Path | None) -> str:
    """The text to continue, to the byte: no newline is added or taken away.  Raises Stop."""
    if file and prefix:
        raise Stop("give the text or a file, not both", MISUSED)
    if prefix and prefix != "-":
        return prefix
    if file is None and prefix is None and sys.stdin.isatty():
        raise Stop("there is no text to continue: give it, or -f FILE, or standard input", MISUSED)
    try:
        data = file.read_bytes() if file else sys.stdin.buffer.read()
        return data.decode("utf-8")
    except OSError as error:
        raise Stop(f"{error.filename}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Stop(f"the text is not UTF-8: {error.reason} at byte {error.start}") from error


def _write(text: str) -> None:
    """To standard output as UTF-8, whatever the locale says, and at once."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogatepass"))
    sys.stdout.buffer.flush()


async def _here(request: Request, settings: Settings) -> str:
    """Run the engine in a process of our own.  Returns why the answer ended; raises Fault."""
    settings = replace(settings, models=replace(settings.models, also=()))  # one answer needs one engine
    names = names_of(settings)
    fetched(names.entries[:1], settings)
    house = house_of(settings, names)
    house.open()
    reason = ""
    try:
        await house.started()
        pipeline = Pipeline(house.find, settings.engine.deterministic)
        async with aclosing(pipeline.answer(await pipeline.prepare(request))) as events:
            async for event in events:
                match event:
                    case Text():
                        _write(event.text)
                    case Ended():
                        reason = event.reason
                    case Failed():
                        raise event.fault
                    case _:
                        continue
    finally:
        await house.close()
    return reason


def _remotely(request: Request, url: str, key: str) -> str:
    """Ask a server.  Returns why the answer ended; raises Stop."""
    from segue.cli.remote import continued  # here, since an HTTP client is slow to import

    messages: list[dict[str, object]] = [{"role": each.role, "content": each.content} for each in request.messages]
    if request.prefix:
        messages.append({"role": "assistant", "content": request.prefix, "partial": True})
    wishes = {
        "max_tokens": request.output_tokens_max,
        "temperature": request.sampling.temperature,
        "seed": request.sampling.seed,
    }
    body: dict[str, object] = {
        "model": request.model,
        "messages": messages,
        **{name: w for name, w in wishes.items() if w is not None},
    }
    reason = ""
    for text, ended in continued(url, key, body):
        _write(text)
        reason = ended or reason
    return reason
