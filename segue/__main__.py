"""The command line: parses and calls, decides nothing.

Laws: an expected failure is one message on standard error and an exit status (2: the words or the
settings are wrong, 1: it did not work); a trace is for our own mistakes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from segue.catalogue.pull import PullFailed
from segue.catalogue.table import CatalogueInvalid
from segue.cli.commands import app
from segue.cli.terminal import FAILED, INTERRUPTED, MISUSED, Stop, say
from segue.config_read import SettingsInvalid
from segue.core.errors import EngineFailed, Fault
from segue.policy.inspection.words import WordsInvalid
from segue.store.base import StoreUnusable


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    args = list(sys.argv[1:] if words is None else words)
    try:
        app(args[0] if args else "")(args=args, prog_name="segue")
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
