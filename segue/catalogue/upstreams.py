"""A model that runs elsewhere, as the catalogue describes it: what kind of server it is, where, and what is known here.

Law: a key is never written into the catalogue, only the name of the environment variable that has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from segue.catalogue.table import Table

RemoteKind = Literal["llama-server", "vllm", "sglang", "chat"]
KINDS: tuple[RemoteKind, ...] = ("llama-server", "vllm", "sglang", "chat")
PrefixForm = Literal["", "partial", "prefix", "continue"]
FORMS: tuple[PrefixForm, ...] = ("", "partial", "prefix", "continue")
_URL = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+(/[^\s?#@]*)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Upstream:
    """One address.  `key_env` is the environment variable that has its key, "" for none; `ca` a file of the
    authorities that its certificate is checked against; `addresses`: each address behind its host name is a replica
    of its own."""

    url: str
    weight: float = 1.0
    key_env: str = ""
    ca: Path | None = None
    addresses: bool = False


@dataclass(frozen=True, slots=True)
class Remote:
    """`model` is the name it has there; `tokenizer` a folder or file, or the name of a model of the catalogue with
    the same vocabulary; `prefix`, `extras` and `sees` are for chat upstreams."""

    kind: RemoteKind
    model: str
    tokenizer: str
    upstreams: tuple[Upstream, ...]
    prefix: PrefixForm = ""
    extras: bool = True
    sees: bool = False


def remote(table: Table, base: Path, models: frozenset[str]) -> Remote:
    """The fields of a model with `engine = "remote"`.  `models` are the names in the catalogue."""
    kind = cast(RemoteKind, table.choice("kind", KINDS, "vllm"))
    tokenizer = table.text("tokenizer", "", required=True)
    if tokenizer and tokenizer not in models:
        tokenizer = str(base / Path(tokenizer).expanduser())
    upstreams = tuple(_upstream(each, base) for each in table.tables("upstreams"))
    if not upstreams:
        table.wrong("upstreams", "is missing")
    model = table.text("served_as", "", required=kind == "chat")
    prefix = cast(PrefixForm, table.choice("prefix", FORMS, ""))
    sees = table.truth("sees", False)
    if sees and kind != "chat":
        table.wrong("sees", "is only for kind chat: the others take no pictures beside token ids")
    return Remote(kind, model, tokenizer, upstreams, prefix, table.truth("extras", True), sees)


def _upstream(table: Table, base: Path) -> Upstream:
    url, key_env, ca = table.text("url", "", required=True), table.text("key_env", ""), table.text("ca", "")
    if url and not _URL.fullmatch(url):
        table.wrong("url", "is not an address as http://host:port or https://host/path")
    if key_env and not _VARIABLE.fullmatch(key_env):
        table.wrong("key_env", "is not the name of an environment variable")
    made = Upstream(
        url=url,
        weight=table.real("weight", 1.0, 0.01, 16.0),
        key_env=key_env,
        ca=base / Path(ca).expanduser() if ca else None,
        addresses=table.truth("addresses", False),
    )
    table.finish()
    return made
