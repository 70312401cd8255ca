"""Zip files, read strictly: one meaning per file, and no more bytes than its size allows."""

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, cast

from sb3_trpo.safe_loading.limits import (
    MAX_HEADERS,
    MIB,
    Budget,
    Refused,
    printable,
)

READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,  # methods of compression that zipfile does not know
    RuntimeError,  # encrypted entries
    ValueError,  # names that are no text, JSON that is none
    OverflowError,
)
"""What Python's zipfile and json raise on bytes that are not what they should be."""

_NAME = re.compile(r"[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*")
_LOCAL_HEADER = struct.Struct("<26xHH")  # ends in the lengths of name and extra field
_ENCRYPTED = 0x1
_CENTRAL_HEADER = b"PK\x01\x02"
_END = struct.Struct("<4s6xH10x")  # signature and number of entries
_END_OF_LIST = b"PK\x05\x06"
_SAID_ELSEWHERE = 0xFFFF  # the number, in files of the form for large ones


def unpacked(raw: bytes, budget: Budget, *, max_entries: int) -> dict[str, bytes]:
    """
    Read all entries of a zip, or refuse it.

    Refused are names that lead elsewhere or come twice, entries that overlap, are links, folders or
    encrypted, sizes and checksums that do not hold, and archives that unpack to far more than they
    are.

    :param raw: the zip
    :param budget: what it may unpack to
    :param max_entries: most entries
    :return: names to contents, in the order of the archive
    :raises Refused: says what is wrong
    """
    # Each entry that zipfile will make an object of has a header; a zip inside has such, too.
    if raw.count(_CENTRAL_HEADER) > MAX_HEADERS:
        raise Refused(f"it has more than {MAX_HEADERS:,} entries")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            check_listed(archive)
            entries = archive.infolist()
            _check_entries(entries, max_entries)
            budget.unpack(sum(entry.file_size for entry in entries))
            _check_places(entries, raw, archive.start_dir)
            return {entry.filename: content_of(archive, entry) for entry in entries}
    except Refused:
        raise
    except READ_ERRORS as error:
        raise Refused(f"it is damaged: {printable(error)}") from error


def check_listed(archive: zipfile.ZipFile) -> None:
    """
    Refuse a zip whose list of entries is cut short.

    A flipped bit in the length of one entry's comment, say, takes the headers behind it for the
    comment: they are gone without an error of zipfile's.

    :param archive: open for reading
    :raises ValueError: it lists fewer or more entries than its end says
    """
    file = cast(IO[bytes], archive.fp)
    file.seek(-_END.size - len(archive.comment), os.SEEK_END)
    signature, n_entries = _END.unpack(file.read(_END.size))
    listed = len(archive.infolist())
    if signature != _END_OF_LIST or n_entries not in (listed, _SAID_ELSEWHERE):
        raise ValueError(f"it lists {listed} entries, and not as many as its end says")


def packed(entries: dict[str, bytes]) -> bytes:
    """
    Write a zip without compression.

    :param entries: names to contents
    :return: the zip
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def _check_entries(entries: list[zipfile.ZipInfo], max_entries: int) -> None:
    if len(entries) > max_entries:
        raise Refused(f"it has {len(entries)} entries, of {max_entries} allowed")
    seen = set()
    for entry in entries:
        fault = _fault(entry)
        if fault:
            raise Refused(f"its entry {printable(entry.orig_filename)!r} {fault}")
        if entry.filename in seen:
            raise Refused(f"it has two entries {entry.filename!r}")
        seen.add(entry.filename)


def _fault(entry: zipfile.ZipInfo) -> str:
    name = entry.orig_filename  # zipfile cuts the other at a null byte
    if not _NAME.fullmatch(name) or any(set(part) == {"."} for part in name.split("/")):
        return "has a name that is none of a file in a folder"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a link"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by method {entry.compress_type}"
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        return f"has two sizes, {entry.compress_size} and {entry.file_size}"
    return ""


def _check_places(entries: list[zipfile.ZipInfo], raw: bytes, start_of_directory: int) -> None:
    """Refuse entries that share bytes, which zipfile does in newer versions alone."""
    places = sorted(_places(entries, raw))
    for (_, end), (start, _) in pairwise([*places, (start_of_directory, start_of_directory)]):
        if end > start:
            raise Refused("its entries overlap")


def _places(entries: list[zipfile.ZipInfo], raw: bytes) -> Iterator[tuple[int, int]]:
    for entry in entries:
        start = entry.header_offset
        if start < 0:
            raise Refused("its entries lie outside of it")
        lengths = _LOCAL_HEADER.unpack_from(raw, start)
        yield start, start + _LOCAL_HEADER.size + sum(lengths) + entry.compress_size


def content_of(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """
    Read an entry in pieces: asked for all, zipfile unpacks a bomb before it looks at the size.

    It compares the checksum when it comes to the end.

    :param archive: the zip
    :param entry: of it, of a size that was looked at
    :return: as many bytes as the entry says
    :raises Refused: it has fewer
    """
    pieces, n_left = [], entry.file_size
    with archive.open(entry) as file:
        while n_left > 0:
            piece = file.read(min(n_left, MIB))
            if not piece:
                raise Refused(f"its entry {entry.filename!r} is shorter than it says")
            pieces.append(piece)
            n_left -= len(piece)
    return b"".join(pieces)
