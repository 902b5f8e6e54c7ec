"""The official JSON-Schema-Test-Suite: a schema compiles, and then every text validates, or it is refused by name.

The suite ships inside the source archive of the `jsonschema` package, which pip fetches.  `SEGUE_SCHEMA_SUITE` names
a folder that holds it already.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from segue.core.errors import FormatInvalid
from segue.core.request import Format
from segue.prompt.constraint import check, constraint
from tests.docs.keywords import KEYWORDS

from .walks import DRAFTS, accepts, in_ascii, walk

pytestmark = pytest.mark.slow

WALKS, TRIES = 20, 80
FETCH_S = 120
SCHEMA = {
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
    "draft7": "http://json-schema.org/draft-07/schema#",
}
NOT_READ_BY_PYTHON = re.compile(r"\\p\{")
"""Classes of characters that Python's regexes, and so the package, do not know."""
ANNOTATIONS = {"optional/content", "optional/format/date", "optional/format/date-time", "optional/format/time"}
"""What these files ask goes beyond the shape of a text: leap years and seconds, contents of contents."""
ZERO_WIDTH = "zero-width whitespace does not match"
"""U+FEFF is blank to ECMA 262, and is not to llguidance, nor to Python."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if "SEGUE_SCHEMA_SUITE" in os.environ:
        return Path(os.environ["SEGUE_SCHEMA_SUITE"])
    folder = tmp_path_factory.mktemp("suite")
    wanted = ["--no-deps", "--no-binary", "jsonschema", f"jsonschema=={version('jsonschema')}"]
    try:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", *wanted, "--dest", str(folder)],
            check=True,
            capture_output=True,
            timeout=FETCH_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"pip cannot fetch the source archive of jsonschema, which holds the suite: {error}")
    with tarfile.open(next(folder.glob("jsonschema-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("jsonschema-*/json"))


def cases(suite: Path, draft: str) -> Iterator[tuple[str, dict[str, Any], Mapping[str, Any]]]:
    """Each schema that is an object, with its file and its tests.  What says no draft is read as the newest one."""
    for file in sorted((suite / "tests" / draft).rglob("*.json")):
        for case in json.loads(file.read_bytes()):
            if isinstance(case["schema"], dict):
                yield file.relative_to(suite / "tests" / draft).with_suffix("").as_posix(), case["schema"], case


@pytest.mark.parametrize("draft", SCHEMA)
def test_every_schema_is_kept_to_or_refused_by_name(suite: Path, draft: str) -> None:
    rng, counts, refused = random.Random(1), Counter[str](), Counter[str]()
    wrong: list[str] = []
    for file, bare, case in cases(suite, draft):
        schema = {"$schema": SCHEMA[draft], **bare}
        counts["schemas"] += 1
        try:
            wanted = constraint(Format("json_schema", schema=schema))
            assert wanted is not None
            check(wanted, b"")
        except FormatInvalid as refusal:
            counts["refused"] += 1
            named = [keyword for keyword in KEYWORDS if re.search(rf"(?<![\w$]){re.escape(keyword)}\b", refusal.reason)]
            if not named and "schema is false" not in refusal.reason:
                wrong.append(f"{file}: no keyword in {refusal.reason!r}")
            refused[named[0] if named else "false"] += 1
            continue
        counts["compiled"] += 1
        texts = [text for text, whole in (walk(wanted, rng, 600) for _ in range(TRIES)) if whole][:WALKS]
        if NOT_READ_BY_PYTHON.search(json.dumps(schema)):
            counts["not judged"] += 1
            continue
        judge = DRAFTS[draft](in_ascii(schema))
        for text in texts:
            counts["texts"] += 1
            if not judge.is_valid(json.loads(text)):
                wrong.append(f"{file}, {case['description']}: {text!r} is invalid")
        if len(texts) < WALKS:
            counts["schemas with fewer texts"] += 1
        for test in case["tests"]:
            said = json.dumps(test["data"], ensure_ascii=False).encode("utf-8", "surrogatepass")
            beyond = file in ANNOTATIONS or test["description"] == ZERO_WIDTH
            if accepts(wanted, said) and not test["valid"] and not beyond:
                wrong.append(f"{file}, {case['description']}: {test['description']} is accepted")
            counts["valid ones of the suite"] += test["valid"]
            counts["valid ones it can say"] += test["valid"] and accepts(wanted, said)
    print(f"\n{draft}: {dict(counts)}\nrefused: {dict(refused.most_common())}")
    assert wrong == []
    assert counts["texts"] >= WALKS * 0.9 * (counts["compiled"] - counts["not judged"])
    assert counts["compiled"] > 150
