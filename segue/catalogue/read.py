"""The catalogue: which models there are, and which of them answers to a name.

Laws: the file in the package comes first, a user's own file adds to it or changes it field by
field; every mistake in either is reported at once, with its place; a name is matched with case,
first exactly, then by family, and an unlisted name is unknown rather than guessed at.  This file
opens no socket and never looks at a model file; `shelf` and `pull` do.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Literal, cast

from segue.catalogue.table import CatalogueInvalid, Table
from segue.catalogue.upstreams import Remote, remote
from segue.core.errors import ModelUnknown
from segue.core.generation import Ability, Decoding
from segue.core.tenancy import UNLIMITED, Limits
from segue.core.usage import FREE, Prices

EngineKind = Literal["llama", "scripted", "remote"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
NAMES_REMEMBERED = 1024
_LIMITS = ("requests_per_minute", "tokens_per_minute", "requests_per_second", "concurrent")
_PRICE_MAX = 1e9
_ABILITIES = (
    "partial",
    "stream_thinking",
    "stream_only",
)  # what the program can do; an ability declared and not kept would be a lie


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a model file: `member` of the wheel of `package` (a pinned requirement)."""

    package: str
    member: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One model.  `bytes` and `sha256` may be unknown (0 and "") for a user's own local file."""

    name: str
    engine: EngineKind
    file: str
    bytes: int
    sha256: str
    licence: str
    hubs: tuple[str, ...]
    pieces: tuple[Piece, ...]
    context_tokens: int
    output_tokens_max: int
    output_tokens_default: int
    template: str | None
    abilities: frozenset[Ability]
    decoding: Decoding
    aliases: tuple[str, ...] = ()
    limits: Limits = UNLIMITED
    prices: Prices = FREE
    remote: Remote | None = None
    """Where it runs, if not here."""
    projector: Entry | None = None
    """The file that encodes pictures for it, if it sees; an entry so that it is fetched as models are."""

    @property
    def files(self) -> tuple[Entry, ...]:
        """All that must be there to serve it."""
        return (self,) if self.projector is None else (self, self.projector)


@dataclass(frozen=True, slots=True)
class NameSet:
    """A set of model names: exact ones, family patterns, and what no pattern may take."""

    names: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()

    def covers(self, name: str) -> bool:
        """Whether `name` is one of them."""
        if name in self.names:
            return True
        # A pattern's star takes anything; what is no model name at all is not let near one.
        if not _NAME.fullmatch(name) or any(fnmatchcase(name, pattern) for pattern in self.exceptions):
            return False
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every known model by name; the names that the default model answers to; the names that read documents; the
    currency of prices."""

    entries: Mapping[str, Entry]
    stand_ins: NameSet = field(default_factory=NameSet)
    documents: NameSet = field(default_factory=NameSet)
    currency: str = ""

    def entry(self, name: str) -> Entry:
        """The model of this very name.  Raises CatalogueInvalid, with the names there are."""
        if name not in self.entries:
            raise CatalogueInvalid([f"{name} is not in the catalogue; it has {', '.join(self.entries)}"])
        return self.entries[name]


@dataclass(slots=True)
class Names:
    """Which served model answers to a name.  `served` has the default model first, and stays; the catalogue can be
    renewed.  What a name means is remembered, for every request asks twice."""

    catalogue: Catalogue
    served: tuple[str, ...]
    _resolved: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    _reading: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The served models."""
        return tuple(self.catalogue.entries[name] for name in self.served)

    def resolve(self, name: str) -> str:
        """The served model that answers to `name`.  Raises ModelUnknown."""
        known = self._resolved.get(name)
        if known is None:
            known = self._found(name)
            if len(self._resolved) >= NAMES_REMEMBERED:
                self._resolved.clear()
            self._resolved[name] = known
        return known

    def _found(self, name: str) -> str:
        if name in self.served:
            return name
        for model in self.served:
            if name in self.catalogue.entries[model].aliases:
                return model
        if self.catalogue.stand_ins.covers(name):
            return self.served[0]
        raise ModelUnknown(name)

    def reads_documents(self, name: str) -> bool:
        """Whether a model of this name reads documents."""
        known = self._reading.get(name)
        if known is None:
            known = self.catalogue.documents.covers(name)
            if len(self._reading) >= NAMES_REMEMBERED:
                self._reading.clear()
            self._reading[name] = known
        return known

    def renew(self, catalogue: Catalogue) -> list[str]:
        """Take another catalogue; what of it holds only from the next start on, one sentence each.  Raises
        CatalogueInvalid where a served model is not in it, and then the old one stays."""
        fresh = [catalogue.entry(name) for name in self.served]
        later = [
            f"{entry.name}: what its engine is told changes at the next start"
            for entry, before in zip(fresh, self.entries, strict=True)
            if _told(entry) != _told(before)
        ]
        self.catalogue = catalogue
        self._resolved.clear()
        self._reading.clear()
        return later

    def listed(self) -> tuple[str, ...]:
        """What a client may be shown: served models, then every exact name; families have no list."""
        aliases = [alias for model in self.served for alias in self.catalogue.entries[model].aliases]
        return tuple(dict.fromkeys([*self.served, *aliases, *self.catalogue.stand_ins.names]))


def _told(entry: Entry) -> Entry:
    """What of an entry an engine is told; the rest holds as soon as it is read."""
    return replace(entry, aliases=(), limits=UNLIMITED, prices=FREE)


def read_catalogue(own: Path | None = None) -> Catalogue:
    """The built-in catalogue with the user's `own` file laid over it.  Raises CatalogueInvalid."""
    shipped = tomllib.loads((resources.files("segue.catalogue") / "catalogue.toml").read_text(encoding="utf-8"))
    return _catalogue(_laid_over(shipped, _own(own)) if own else shipped, own.parent if own else Path())


def _own(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CatalogueInvalid([f"{path}: {error}"]) from error


def _laid_over(shipped: Mapping[str, object], own: Mapping[str, object]) -> dict[str, object]:
    """Tables are merged, lists of names are joined, everything else is replaced."""
    merged = dict(shipped)
    for key, value in own.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _laid_over(cast(Mapping[str, object], below), cast(Mapping[str, object], value))
        elif key in ("names", "patterns", "except") and isinstance(below, list) and isinstance(value, list):
            merged[key] = [*below, *value]
        else:
            merged[key] = value
    return merged


def _catalogue(tree: Mapping[str, object], base: Path) -> Catalogue:
    problems: list[str] = []
    top = Table("catalogue", tree, problems)
    stand_ins, documents = _names(top.table("stand_ins")), _names(top.table("documents"))
    models = top.table("models")
    listed = frozenset(models.names())
    entries = {name: _entry(name, models.table(name), base, listed) for name in models.names()}
    currency = top.text("currency", "")
    top.finish()
    if problems:
        raise CatalogueInvalid(problems)
    return Catalogue(entries, stand_ins, documents, currency)


def _names(table: Table) -> NameSet:
    names = NameSet(table.texts("names"), table.texts("patterns"), table.texts("except"))
    table.finish()
    return names


def _entry(name: str, table: Table, base: Path, listed: frozenset[str]) -> Entry:
    engine = table.choice("engine", ("llama", "scripted", "remote"), "llama")
    template = table.text("template", "file")
    source = _source(table, base, required=engine == "llama")
    if "projector" in table and engine != "llama":
        table.wrong("projector", "is only for models with engine llama")
    seeing = table.table("projector")
    projector = _source(seeing, base, required=True) if "projector" in table else None
    seeing.finish()
    entry = Entry(
        name=name,
        engine=cast(EngineKind, engine),
        file=source.file,
        bytes=source.bytes,
        sha256=source.sha256,
        licence=table.text("licence", ""),
        hubs=source.hubs,
        pieces=source.pieces,
        context_tokens=table.number("context_tokens", 4096, low=256),
        output_tokens_max=table.number("output_tokens_max", 2048, low=1),
        output_tokens_default=table.number("output_tokens_default", 1024, low=1),
        template=_template(table, template, base),
        abilities=cast("frozenset[Ability]", frozenset(table.texts("abilities", _ABILITIES, ("partial",)))),
        decoding=_decoding(table.table("decoding")),
        aliases=table.texts("aliases"),
        limits=_limits(table.table("limits")),
        prices=_prices(table.table("prices")),
        remote=remote(table, base, listed) if engine == "remote" else None,
    )
    table.finish()
    return entry if projector is None else replace(entry, projector=_projector(entry, projector))


def _projector(entry: Entry, source: _Source) -> Entry:
    return replace(
        entry,
        file=source.file,
        bytes=source.bytes,
        sha256=source.sha256,
        hubs=source.hubs,
        pieces=source.pieces,
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """A file, and where it comes from."""

    file: str
    bytes: int
    sha256: str
    hubs: tuple[str, ...]
    pieces: tuple[Piece, ...]


def _source(table: Table, base: Path, required: bool) -> _Source:
    file = table.text("file", "", required=required)
    sha256, size = table.text("sha256", ""), table.number("bytes", 0)
    hubs, pieces = table.texts("hubs"), _pieces(table)
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        table.wrong("sha256", "is not 64 hexadecimal digits")
    if (hubs or pieces) and not (sha256 and size):
        table.wrong("sha256", "and bytes must be given for a file that is fetched")
    if any(not re.match(r"https?://", hub) for hub in hubs):
        table.wrong("hubs", "are not all http(s) addresses")
    if not (hubs or pieces) and file.startswith((".", "~")):
        file = str(base / Path(file).expanduser())
    return _Source(file, size, sha256, hubs, pieces)


def _template(table: Table, template: str, base: Path) -> str | None:
    """`None`: the one inside the model file.  Else the text of the Jinja file that is named."""
    if template == "file":
        return None
    try:
        return (base / Path(template).expanduser()).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        table.wrong("template", f"cannot be read: {error}")
        return None


def _pieces(table: Table) -> tuple[Piece, ...]:
    pieces = table.table("pieces")
    count, package, member = pieces.number("count", 0), pieces.text("package", ""), pieces.text("member", "")
    pieces.finish()
    # A requirement goes to pip's command line: exactly one pinned name, so that it can be nothing else.
    if count and not re.fullmatch(r"[A-Za-z0-9][\w.{}-]*==[\w.{}]+", package):
        table.wrong("pieces", "package is not of the form name==version")
        return ()
    return tuple(Piece(_numbered(package, n), _numbered(member, n)) for n in range(1, count + 1))


def _numbered(text: str, n: int) -> str:
    return text.replace("{n}", str(n)).replace("{nn}", f"{n:02d}")


def _decoding(table: Table) -> Decoding:
    plain = Decoding()
    decoding = Decoding(
        temperature=table.real("temperature", plain.temperature, 0.0, 2.0),
        top_p=table.real("top_p", plain.top_p, 0.0, 1.0),
        top_k=table.number("top_k", plain.top_k),
        repetition_penalty=table.real("repetition_penalty", plain.repetition_penalty, 0.01, 10.0),
        presence_penalty=table.real("presence_penalty", plain.presence_penalty, -2.0, 2.0),
        frequency_penalty=table.real("frequency_penalty", plain.frequency_penalty, -2.0, 2.0),
        seed=table.number("seed", plain.seed),
    )
    table.finish()
    return decoding


def _limits(table: Table) -> Limits:
    """What each workspace may ask of a model; 0, as elsewhere in settings, is any number."""
    most = {name: table.number(name, 0) or None for name in _LIMITS}
    table.finish()
    return Limits(**most) if any(most.values()) else UNLIMITED


def _prices(table: Table) -> Prices:
    """What a million tokens cost."""
    prices = Prices(*(table.real(name, 0.0, 0.0, _PRICE_MAX) for name in ("input", "cached", "output")))
    table.finish()
    return FREE if prices == FREE else prices


def names_served(catalogue: Catalogue, default: str, also: Sequence[str] = ()) -> Names:
    """The names of what is to be served.  Raises CatalogueInvalid for a model there is not."""
    return Names(catalogue, tuple(catalogue.entry(name).name for name in dict.fromkeys([default, *also])))
