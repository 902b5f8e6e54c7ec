"""The command line: parses and calls, decides nothing.

Laws: an expected failure is one message on standard error and an exit status (2: the words or the
settings are wrong, 1: it did not work); a trace is for our own mistakes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from segue import __version__
from segue.catalogue.pull import PullFailed
from segue.catalogue.table import CatalogueInvalid
from segue.cli import complete, doctor, files, keys, models, serve, store, usage, workspaces
from segue.cli.terminal import FAILED, INTERRUPTED, MISUSED, Stop, say
from segue.config_read import SettingsInvalid
from segue.core.errors import EngineFailed, Fault
from segue.policy.inspection.words import WordsInvalid
from segue.store.base import StoreUnusable

app = typer.Typer(
    help="A self-hosted server for Alibaba Model Studio's text-generation API, with exact prefix continuation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("complete")(complete.complete)
app.command("doctor")(doctor.doctor)
app.command("usage")(usage.usage)
app.add_typer(models.commands, name="models")
app.add_typer(keys.commands, name="key")
app.add_typer(workspaces.commands, name="workspace")
app.command("audit")(workspaces.audit)
app.add_typer(files.commands, name="file")
app.add_typer(store.commands, name="store")


def _version(asked: bool) -> None:
    if asked:
        print(f"segue {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Nothing of its own."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    try:
        app(args=list(sys.argv[1:] if words is None else words), prog_name="segue")
    except SystemExit as exit:
        # Typer has shown what is wrong with the words, or what was asked for.
        return exit.code if isinstance(exit.code, int) else FAILED
    except (SettingsInvalid, CatalogueInvalid) as error:
        for problem in error.problems:
            say(f"error: {problem}")
        return MISUSED
    except Stop as stop:
        say(f"error: {stop.message}")
        return stop.status
    except (PullFailed, StoreUnusable, WordsInvalid) as error:
        say(f"error: {error}")
    except EngineFailed as fault:
        say(f"error: the engine failed: {fault.detail}")
    except Fault as fault:
        say(f"error: {type(fault).__name__} {', '.join(map(str, fault.args))}".rstrip())
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left: nothing more to say, and nobody to say it to.
        sys.stderr.close()
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
