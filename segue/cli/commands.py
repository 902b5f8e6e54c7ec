"""Every command there is, and where it is.

Why a table: a command's file is imported when it is the one that is asked for.  A server is much
code, and whoever asks one, or completes a word, needs none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from segue import __version__

# Name: the file in this folder, and what of it.
TABLE = {
    "serve": ("serve", "serve"),
    "chat": ("chat", "chat"),
    "complete": ("complete", "complete"),
    "models": ("models", "commands"),
    "key": ("keys", "commands"),
    "workspace": ("workspaces", "commands"),
    "audit": ("workspaces", "audit"),
    "file": ("files", "commands"),
    "usage": ("usage", "usage"),
    "store": ("store", "commands"),
    "replica": ("replicas", "commands"),
    "doctor": ("doctor", "doctor"),
    "completion": ("completion", "completion"),
}

# What is said by this program to itself, and shown to nobody.
HIDDEN = {"serve-member": ("serve", "serve_as_member")}


def app(word: str = "") -> typer.Typer:
    """The command line; where `word` is a command, with that one alone."""
    made = typer.Typer(
        help="A self-hosted server for Alibaba Model Studio's text-generation API, with exact prefix continuation.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    made.callback()(root)
    for name, (module, what) in (TABLE | ({word: HIDDEN[word]} if word in HIDDEN else {})).items():
        if (word in TABLE or word in HIDDEN) and name != word:
            continue
        found = getattr(import_module(f"segue.cli.{module}"), what)
        if isinstance(found, typer.Typer):
            made.add_typer(found, name=name)
        else:
            made.command(name)(found)
    return made


def _version(asked: bool) -> None:
    if asked:
        print(f"segue {__version__}")
        raise typer.Exit


def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Nothing of its own."""
