"""`segue completion`: what a shell needs to complete our commands, options and files.

Written from the commands themselves, once, into a script that starts no Python: a Tab is answered at
once.  Laws: every command and option that there is, and none that there is not; texts are quoted for
their shell.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from segue.cli.terminal import MISUSED, Stop, write

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, slots=True)
class Option:
    """An option: its spellings, whether a value follows, and whether that is a path."""

    names: tuple[str, ...]
    help: str
    valued: bool
    path: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A command by its words, such as `segue key new`; a group has `below`.  `words` are what it may be given, where
    that is known; `paths`: files."""

    words: str
    help: str
    below: tuple[str, ...]
    options: tuple[Option, ...]
    choices: tuple[str, ...]
    paths: bool


def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish.", metavar="SHELL")],
) -> None:
    """Print the completion of a shell.

    bash: `source <(segue completion bash)` in ~/.bashrc.  zsh: `source <(segue completion zsh)` in ~/.zshrc, behind
    compinit.  fish: `segue completion fish > ~/.config/fish/completions/segue.fish`.
    """
    if shell not in SHELLS:
        raise Stop(f"there is none for {shell}: say {', '.join(SHELLS)}", MISUSED)
    from segue.cli.commands import app  # here, since it imports this file

    found = list(commands(get_command(app()), "segue"))
    write({"bash": bash, "zsh": zsh, "fish": fish}[shell](found))


def commands(of: object, words: str) -> Iterator[Command]:
    """A command and all below it."""
    assert isinstance(of, TyperGroup | TyperCommand)
    paths = _paths(of)
    options = [_option(each, each.name in paths) for each in of.params if isinstance(each, TyperOption)]
    arguments = [each for each in of.params if isinstance(each, TyperArgument)]
    below = of.commands if isinstance(of, TyperGroup) else {}
    yield Command(
        words,
        (of.help or "").strip().splitlines()[0],
        tuple(below),
        (*options, Option(("--help",), "Show this message and exit.", False, False)),
        SHELLS if words.endswith(" completion") else (),
        any(argument.name in paths for argument in arguments),
    )
    for name, each in below.items():
        yield from commands(each, f"{words} {name}")


def _option(of: TyperOption, path: bool) -> Option:
    flag = bool(of.is_flag)
    return Option((*of.opts, *of.secondary_opts), of.help or "", not flag, path)


def _paths(of: TyperGroup | TyperCommand) -> set[str]:
    """The names of the parameters that are paths."""
    if of.callback is None:
        return set()
    hints = get_type_hints(inspect.unwrap(of.callback))
    return {name for name, hint in hints.items() if Path in (hint, *_inner(hint))}


def _inner(hint: object) -> Iterator[object]:
    for each in get_args(hint):
        yield each
        yield from _inner(each)


def bash(found: list[Command]) -> str:
    """The script of bash, for any since 3.2."""
    tables = []
    for command in found:
        options = [name for option in command.options for name in option.names]
        words = " ".join([*command.below, *command.choices, *options])
        valued = "|".join(name for option in command.options if option.valued for name in option.names)
        paths = "|".join(name for option in command.options if option.path for name in option.names)
        files = "1" if command.paths else ""
        tables.append(
            f"    {shlex.quote(command.words)}) words={shlex.quote(words)} valued={shlex.quote(f'|{valued}|')} "
            f"paths={shlex.quote(f'|{paths}|')} files={files} ;;"
        )
    groups = "|".join(shlex.quote(f"{command.words} {name}") for command in found for name in command.below)
    return _BASH.replace("@TABLES@", "\n".join(tables)).replace("@COMMANDS@", groups)


_BASH = """\
# Completion of segue for bash, written by `segue completion bash`.
_segue_table() {
  case "$1" in
@TABLES@
  esac
}
_segue() {
  local cur=${COMP_WORDS[COMP_CWORD]} at=segue word words valued paths files i skip=
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case "$at $word" in
      @COMMANDS@) at="$at $word" ;;
    esac
  done
  _segue_table "$at"
  word=${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  if [[ $word == -* && $paths == *"|$word|"* ]]; then
    compopt -o filenames 2>/dev/null
    while IFS= read -r i; do COMPREPLY+=("$i"); done < <(compgen -f -- "$cur")
  elif [[ $word == -* && $valued == *"|$word|"* ]]; then
    return 0
  elif [[ -n $files && $cur != -* ]]; then
    compopt -o filenames 2>/dev/null
    while IFS= read -r i; do COMPREPLY+=("$i"); done < <(compgen -f -- "$cur")
  else
    while IFS= read -r i; do COMPREPLY+=("$i"); done < <(compgen -W "$words" -- "$cur")
  fi
}
complete -F _segue segue
"""


def zsh(found: list[Command]) -> str:
    """The script of zsh."""
    known = {command.words: command for command in found}
    functions = "\n".join(_zsh_function(command, known) for command in found)
    head = "#compdef segue\n# Completion of segue for zsh, written by `segue completion zsh`.\n"
    tail = 'if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _segue "$@"; else compdef _segue segue; fi\n'
    return f"{head}{functions}{tail}"


def _zsh_function(command: Command, known: dict[str, Command]) -> str:
    def told(text: str) -> str:
        return "".join(f"\\{sign}" if sign in "[]:\\" else sign for sign in text.replace("\n", " "))

    lines = []
    for option in command.options:
        value = ":file:_files" if option.path else ":value: " if option.valued else ""
        lines += [shlex.quote(f"*{name}[{told(option.help)}]{value}") for name in option.names]
    name = command.words.replace(" ", "_")
    if not command.below:
        rest = f"*:word:({' '.join(command.choices)})" if command.choices else "*:file:_files" if command.paths else ""
        lines += [shlex.quote(rest)] if rest else []
        return f"_{name}() {{\n  _arguments {' '.join(lines)}\n}}\n"
    below = [
        shlex.quote(f"{word}:{told(known[f'{command.words} {word}'].help)}".replace("\\[", "[").replace("\\]", "]"))
        for word in command.below
    ]
    cases = "\n".join(f"      {word}) _{name}_{word} ;;" for word in command.below)
    return (
        f"_{name}() {{\n  local state line\n  local -a below=({' '.join(below)})\n"
        f"  _arguments -C {' '.join(lines)} '1: :->command' '*:: :->rest'\n"
        f"  case $state in\n    command) _describe command below ;;\n"
        f"    rest) case $line[1] in\n{cases}\n    esac ;;\n  esac\n}}\n"
    )


def fish(found: list[Command]) -> str:
    """The script of fish."""
    known = " ".join(_fish(f"{command.words} {name}") for command in found for name in command.below)
    helps = {command.words: command.help for command in found}
    lines = [_FISH.replace("@COMMANDS@", known)]
    for command in found:
        here = f"complete -c segue -n {_fish(f'__segue_at {command.words}')}"
        lines += [f"{here} -a {_fish(word)} -d {_fish(helps[f'{command.words} {word}'])}" for word in command.below]
        lines += [f"{here} -a {_fish(word)}" for word in command.choices]
        if command.paths:
            lines.append(f"{here} -F")
        for option in command.options:
            names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
            value = " -r -F" if option.path else " -x" if option.valued else ""
            lines.append(f"{here} {' '.join(names)}{value} -d {_fish(option.help)}")
    return "\n".join(lines) + "\n"


_FISH = """\
# Completion of segue for fish, written by `segue completion fish`.
function __segue_at
    set -l words (commandline -opc)
    set -l at segue
    for word in $words[2..-1]
        if contains -- "$at $word" @COMMANDS@
            set at "$at $word"
        end
    end
    test "$at" = "$argv"
end
complete -c segue -f"""


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ") + "'"
