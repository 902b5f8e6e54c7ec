"""axe-core, which looks for what keeps people out: fetched from npm once a machine, known by its hash."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import platformdirs
import pytest

from tests.console.browser import Tab

VERSION = "4.14.1"
SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
FETCH_S = 60.0
_MEMBER = "package/axe.min.js"


def script() -> str:
    """Its source; the test is skipped where it cannot be had."""
    folder = platformdirs.user_cache_path("segue") / "axe-core"
    archive = folder / f"axe-core-{VERSION}.tgz"
    if not archive.exists():
        _fetch(folder)
    if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != SHA512:
        archive.unlink()
        raise AssertionError("axe-core is not what it was: its hash is another one")
    with tarfile.open(archive) as packed:
        member = packed.extractfile(_MEMBER)
        assert member is not None
        return member.read().decode()


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm to fetch axe-core with")
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", f"axe-core@{VERSION}", "--silent", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not fetch axe-core within {FETCH_S} s")
    if done.returncode != 0:
        pytest.skip(f"npm cannot fetch axe-core: {done.stderr.strip()[-300:]}")


def faults(tab: Tab) -> Sequence[str]:
    """What is serious or critical on the page as it stands."""
    found = json.loads(
        tab.page.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(found => JSON.stringify(found.violations))"
        )
    )
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
