"""Files as bytes and text: compression, encodings, and what a file really is, told by its first
bytes.
"""

import gzip
import io
import lzma
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

from eigenloop.predict.sheets import shortened
from eigenloop.system.errors import InputError
from eigenloop.system.memory import GIB, memory_limit

TEXT = (".csv", ".tsv", ".tab", ".psv", ".txt", ".dat", ".data", ".asc")
SUFFIXES = (*TEXT, ".npy", ".npz", ".parquet")
PACKED = (".gz", ".zip")
SHARE = 16
"""Bytes of memory that reading a byte of text takes: the text, its lines, its cells, and the
numbers.
"""

DAMAGE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, SyntaxError,
    RuntimeError, MemoryError, OverflowError, struct.error, zlib.error, lzma.LZMAError,
    tokenize.TokenError, zipfile.BadZipFile, gzip.BadGzipFile,
)  # fmt: skip
"""What NumPy, SciPy and the archives raise over hostile or damaged files."""

MARKS = (
    (b"\x93NUMPY", "a NumPy array; rename it to end in .npy"),
    (b"PAR1", "a Parquet file; rename it to end in .parquet"),
    (b"\x1f\x8b", "compressed by gzip; rename it to end in .gz"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook or another Office file; save the sheet as CSV"),
    (b"\x89HDF", "an HDF5 file; save the table as CSV or .npy"),
    (b"BZh", "compressed by bzip2; unpack it"),
    (b"\xfd7zXZ", "compressed by xz; unpack it"),
    (b"SQLite format 3", "an SQLite data base; save the table as CSV"),
    (b"version https://git-lfs", "a pointer of git-lfs, not the table; fetch it with git lfs pull"),
)


def opened(path: Path, key: str | None) -> tuple[str, Any, list[str]]:
    """A file without its compression.

    Args:
        path: the file.
        key: which file of a .zip archive; not needed where it holds only one.

    Returns:
        The name (a suffix of `PACKED` removed), the file, and what was unpacked, for the line that
        says what was read.
    """
    suffix = path.suffix.lower()
    if suffix == ".gz":
        with path.open("rb") as packed:
            return path.stem, _unpacked(gzip.GzipFile(fileobj=packed), path), ["unpacked by gzip"]
    if suffix == ".zip":
        with path.open("rb") as packed:
            try:
                with zipfile.ZipFile(packed) as archive:
                    name = _member(archive, path, key)
                    with archive.open(name) as member:
                        return name, _unpacked(member, path), [f"{name} of the archive"]
            except InputError:
                raise
            except DAMAGE as error:
                raise unreadable(path, error, "zip archive") from None
    return path.name, path.open("rb"), []


def decoded(data: bytes, source: str) -> tuple[str, str]:
    r"""Text, and its encoding where it is not UTF-8.

    UTF-8, or UTF-16 and UTF-32 with a byte order mark; else Windows-1252, as spreadsheets write in
    Western Europe, which can only change letters.

    Raises:
        InputError: it is no text.

    Example:
        >>> decoded("a\n".encode("utf-16"), "x.csv")
        ('a\n', 'UTF-16')
    """
    for mark, said in MARKS:
        if data.startswith(mark):
            raise InputError(f"{source} is {said}")
    if data.startswith(b"PK\x03\x04"):
        said = (
            "an Excel workbook; save the sheet as CSV"
            if b"xl/" in data[:4096] or b"xl/" in data[-4096:]
            else ("a zip archive; rename it to end in .zip or .npz")
        )
        raise InputError(f"{source} is {said}")
    for mark, name in (
        (b"\xff\xfe\x00\x00", "UTF-32"),
        (b"\x00\x00\xfe\xff", "UTF-32"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
    ):
        if data.startswith(mark):
            try:
                return _text(data.decode(name), source), name
            except UnicodeDecodeError:
                raise InputError(
                    f"{source} begins as {name} text but is none; save it as UTF-8"
                ) from None
    if b"\x00" in data[:4096]:
        half = len(data[:200]) // 2
        wide = max(data[:200:2].count(0), data[1:200:2].count(0)) > 0.9 * half
        said = "UTF-16 text without a byte order mark" if wide else "no text: it holds zero bytes"
        raise InputError(f"{source} is {said}; save it as UTF-8 text")
    try:
        return _text(data.decode("utf-8-sig"), source), ""
    except UnicodeDecodeError:
        return _text(data.decode("cp1252", errors="replace"), source), "Windows-1252"


def unreadable(path: Path | str, error: Exception, kind: str = "NumPy file") -> InputError:
    """The one line for what a reader of archives and arrays raised."""
    if isinstance(error, MemoryError | OverflowError):
        return InputError(
            f"{path} declares an array that does not fit in memory; it is damaged, or cut it into"
            " parts"
        )
    if isinstance(error, NotImplementedError):
        return InputError(
            f"{path} is compressed by a method that cannot be read; save it again with another"
        )
    if isinstance(error, RuntimeError) and "encrypted" in str(error):
        return InputError(f"{path} is encrypted; save it again without a password")
    if "Object arrays" in str(error):
        return InputError(
            f"{path} holds Python objects, which are never unpickled; save an array of numbers"
            " instead"
        )
    return InputError(f"{path} is damaged or no {kind}; save it again")


def _text(text: str, source: str) -> str:
    control = next((c for c in text[:100_000] if c < " " and c not in "\t\n\r\f\x1a"), None)
    if control is not None or "\x00" in text:
        raise InputError(
            f"{source} is no text: it holds the control character {control or chr(0)!r}"
        )
    start = text[:200].lstrip().lower()
    if start.startswith(("<!doctype", "<html", "<?xml")):
        raise InputError(f"{source} is a web page or XML, not a table; download the file itself")
    return text


def _unpacked(file: Any, path: Path) -> Any:
    """The whole content, refused where it grows beyond what memory allows."""
    most, parts, size = memory_limit() // SHARE, [], 0
    try:
        while part := file.read(2**22):
            parts.append(part)
            size += len(part)
            if size > most:
                raise InputError(
                    f"{path} unpacks to more than {most / GIB:.1f} GiB, too much for the memory;"
                    " cut it"
                )
    except InputError:
        raise
    except DAMAGE as error:
        raise unreadable(
            path, error, "archive" if path.suffix.lower() == ".zip" else "gzip file"
        ) from None
    return io.BytesIO(b"".join(parts))


def _member(archive: zipfile.ZipFile, path: Path, key: str | None) -> str:
    names = [
        name
        for name in archive.namelist()
        if not name.endswith("/")
        and not name.startswith("__MACOSX/")
        and not Path(name).name.startswith(".")
    ]
    if "[Content_Types].xml" in names:
        raise InputError(f"{path} is an Office document; save the sheet as CSV")
    if key is not None:
        if key not in names:
            raise InputError(
                f"{path} has no file {key!r}; it holds {shortened(', '.join(names[:10]), 200)}"
            )
        return key
    tables = [name for name in names if Path(name).suffix.lower() in SUFFIXES] or names
    if len(tables) != 1:
        held = (
            f"{len(tables)} files ({shortened(', '.join(tables[:10]), 200)}); choose one with --key"
            " NAME"
            if tables
            else "no file"
        )
        raise InputError(f"{path} holds {held}")
    return tables[0]
