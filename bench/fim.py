"""Is a hole in code filled so that the file compiles?  Functions of Python's standard library, a piece of each cut out.

The real server, as `segue serve` runs it, through `POST /compatible-mode/v1/completions` with `suffix`, greedily.
From each function some lines in its middle are taken, from inside a line to inside another, so that the answer has
to begin and end within lines; the model is shown `BEFORE` lines before the hole and `AFTER` behind it.  What it
writes is put into the hole, and the whole file must compile.  A second table says how often the function then
has the very same syntax tree as before.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench import report
from bench.model import DEFAULT, model_file
from bench.process import KEY, free_port, segue, server

FUNCTIONS, QUICK = 50, 6
BEFORE, AFTER = 16, 8
LINES_MIN, LINES_MAX = 6, 40
TOKENS_MAX = 256
"""An answer that goes on until it is cut short ends inside a line."""
TARGET = 0.80
TOGETHER = 4
SEED = 8
START_S = 900.0
MODULES = [
    "argparse",
    "bisect",
    "calendar",
    "cmd",
    "code",
    "configparser",
    "contextlib",
    "copy",
    "csv",
    "difflib",
    "dis",
    "enum",
    "filecmp",
    "fileinput",
    "fnmatch",
    "fractions",
    "functools",
    "getopt",
    "glob",
    "gzip",
    "heapq",
    "imaplib",
    "inspect",
    "ipaddress",
    "keyword",
    "linecache",
    "mimetypes",
    "netrc",
    "numbers",
    "operator",
    "optparse",
    "pathlib",
    "pprint",
    "queue",
    "random",
    "reprlib",
    "sched",
    "selectors",
    "shlex",
    "shutil",
    "socketserver",
    "statistics",
    "string",
    "tabnanny",
    "tarfile",
    "tempfile",
    "textwrap",
    "timeit",
    "tokenize",
    "traceback",
    "types",
    "typing",
    "uuid",
    "weakref",
]


@dataclass(frozen=True, slots=True)
class Hole:
    """A file with a hole from `start` to `end`, in characters, in one function; what of it is `shown`."""

    where: str
    source: str
    start: int
    end: int
    shown: tuple[str, str]

    def filled(self, text: str) -> str:
        """The file with something in its hole."""
        return self.source[: self.start] + text + self.source[self.end :]


def holes(count: int, seed: int = SEED) -> list[Hole]:
    """The same ones every time, on one version of Python: one of a module, as far as they reach."""
    found = [hole for name in MODULES for hole in _holes(name, seed)]
    one_each = {hole.where.partition(".")[0]: hole for hole in reversed(found)}
    return list(one_each.values())[:count]


def _holes(module: str, seed: int) -> Iterator[Hole]:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return
    source = Path(spec.origin).read_text(encoding="utf-8")
    lines = source.splitlines(keepends=True)
    draw = random.Random(f"{seed} {module}")
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    draw.shuffle(functions)
    for node in functions:
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        assert node.end_lineno is not None
        if len(body) < 3 or not LINES_MIN <= node.end_lineno - body[0].lineno <= LINES_MAX:
            continue
        # From inside the second statement's first line to the end of a line or two further on.
        first = body[1].lineno - 1
        last = min(first + draw.randint(0, 2), node.end_lineno - 2)
        text = lines[first]
        column = len(text) - len(text.lstrip()) + draw.randint(0, max(0, len(text.strip()) // 2))
        start = sum(map(len, lines[:first])) + column
        end = sum(map(len, lines[: last + 1])) - 1
        before = "".join(lines[max(0, first - BEFORE) : first]) + text[:column]
        after = source[end : end + len("\n" + "".join(lines[last + 1 : last + 1 + AFTER]))]
        yield Hole(f"{module}.{node.name}", source, start, end, (before, after))
        return


def compiles(text: str) -> bool:
    """Whether a file is Python."""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


async def answers(port: int, model: str, asked: list[Hole]) -> list[str]:
    """What the model puts into each hole."""
    places = asyncio.Semaphore(TOGETHER)
    base = f"http://127.0.0.1:{port}/compatible-mode/v1/completions"

    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=3600, trust_env=False) as client:

        async def one(hole: Hole) -> str:
            before, after = hole.shown
            body = {"model": model, "prompt": before, "suffix": after, "temperature": 0, "max_tokens": TOKENS_MAX}
            async with places:
                answer = await client.post(base, json=body)
            answer.raise_for_status()
            text: str = answer.json()["choices"][0]["text"]
            print(f"{hole.where}: {report.met(compiles(hole.filled(text)), least=1)}", file=sys.stderr, flush=True)
            return text

        return await asyncio.gather(*map(one, asked))


def told(asked: list[Hole], said: list[str]) -> list[str]:
    """The tables."""
    good = [compiles(hole.filled(text)) for hole, text in zip(asked, said, strict=True)]
    same = [
        fits and ast.dump(ast.parse(hole.filled(text))) == ast.dump(ast.parse(hole.source))
        for hole, text, fits in zip(asked, said, good, strict=True)
    ]
    blank = [compiles(hole.filled("")) for hole in asked]
    share = sum(good) / len(asked)
    rows = [
        ("the joined file compiles", f"{sum(good)} of {len(asked)}", f"{share:.2f}", f">= {TARGET:.2f}"),
        ("likewise, nothing in the hole", f"{sum(blank)} of {len(asked)}", f"{sum(blank) / len(asked):.2f}", ""),
        ("the same syntax tree as before", f"{sum(same)} of {len(asked)}", f"{sum(same) / len(asked):.2f}", ""),
    ]
    tables = [
        report.table("Holes in functions of the standard library", ("", "functions", "share", "target"), rows),
        report.met(share, least=TARGET) + "\n",
    ]
    broken = [(hole.where, repr(text[-60:])) for hole, text, fits in zip(asked, said, good, strict=True) if not fits]
    if broken:
        tables.append(
            report.table("Those that do not compile, and how the answer ends", ("function", "end"), broken, 2)
        )
    return tables


def main() -> None:
    """Print the report."""
    parser = report.parser(__doc__, rounds=1, model=DEFAULT)
    parser.add_argument("--seed", type=int, default=SEED, help=f"where the holes are ({SEED})")
    options = parser.parse_args()
    model, port = model_file(options.model), free_port()
    asked = holes(QUICK if options.quick else FUNCTIONS, options.seed)
    repeat = f"{report.command('fim', options)} --seed {options.seed}"
    head = report.heading(f"Filling holes: {model.name}, default settings", repeat)
    env = {"SEGUE_MODELS_DIR": str(model.path.parent), "SEGUE_FILES_ENABLED": "false", "SEGUE_ENGINE_STARTUP_S": "800"}
    with server(segue(port, model.name), port, "/readyz", env=env, start_s_max=START_S):
        print("\n".join([head, *told(asked, asyncio.run(answers(port, model.name, asked)))]))


if __name__ == "__main__":
    main()
