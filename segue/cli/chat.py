"""`segue chat`: talk with a model, go on with its answers from any point, show it files and pictures.

Laws: the answer is written to the letter as it comes, and Ctrl-C ends it on the engine too; what
came is kept and can be gone on with.  What is written about it goes to standard error, and only
where a person reads it.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from segue.cli.lines import Lines
from segue.cli.terminal import ConfigOption, KeyOption, Stop, UrlOption, say


def chat(
    model: Annotated[str | None, typer.Option(help="Model; default: the server's own.")] = None,
    system: Annotated[str, typer.Option(help="A system message.")] = "",
    file: Annotated[
        list[Path] | None, typer.Option("--file", "-f", help="A document to talk about.", exists=True, dir_okay=False)
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of an answer.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, max=1.999, help="0 takes the likeliest.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same answers.")] = None,
    history: Annotated[bool, typer.Option(help="Remember what was typed, for the arrow keys.")] = True,
    url: UrlOption = None,
    key: KeyOption = "",
    config: ConfigOption = None,
) -> None:
    """Talk with a model.  /help tells what can be done; Ctrl-C stops an answer, twice leaves."""
    from segue.cli.conversation import Conversation
    from segue.cli.own import opened
    from segue.cli.talk import COMMANDS, Talk  # here, since an HTTP client and the server are slow to import

    kept = platformdirs.user_state_path("segue") / "chat_history" if history else None
    with ExitStack() as stack:
        there = stack.enter_context(opened(url, key, model, config))
        lines = Lines(kept, [f"/{name}" for name in COMMANDS])
        stack.callback(lines.close)
        wishes = {"max_tokens": max_tokens, "temperature": temperature}
        talk = Talk(there, Conversation(there.model, system, seed), lines, wishes)
        for path in file or []:
            talk.attach(path)
        if lines.interactive:
            say(f"{there.model}{f' at {url}' if url else ', loaded here'}.  /help tells what can be done.")
        if not talk.run() and not lines.interactive:
            raise Stop("not everything could be answered")
