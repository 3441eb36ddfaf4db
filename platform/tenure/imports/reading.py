"""Read a CSV file line by line, in flat memory, going on after what cannot be read."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO, Final

from tenure.imports.rules import Problem, header_problem

_BOM: Final = b"\xef\xbb\xbf"
# Far more than eight cells need; a file without line ends is not read into memory.
_LONGEST_LINE: Final = 65_536

# A row by the number of its first line, or what is wrong instead of one.
Entry = tuple[int, list[str]] | Problem


class _TooLong(Exception):
    """The line has more bytes than any row needs."""


class _Lines:
    """The file's lines as text; lines that are not UTF-8 are noted and read with replacement marks."""

    def __init__(self, file: BinaryIO) -> None:
        """From the file's current place."""
        self._file = file
        self.number = 0
        self.undecodable: list[int] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._file.readline(_LONGEST_LINE + 1)
        if not raw:
            raise StopIteration
        self.number += 1
        if len(raw) > _LONGEST_LINE:
            raise _TooLong
        if self.number == 1:
            raw = raw.removeprefix(_BOM)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.undecodable.append(self.number)
            return raw.decode("utf-8", "replace")


def entries(file: BinaryIO) -> Iterator[Entry]:
    """The rows below the header. Nothing follows a file that is empty or whose header is not ours."""
    lines = _Lines(file)
    reader = csv.reader(lines, strict=True)
    header = True
    while True:
        line = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield Problem(line, None, "bad_csv", f"not CSV: {error}")
            if header:
                return
            continue
        except _TooLong:
            yield Problem(lines.number, None, "bad_csv", f"the line is longer than {_LONGEST_LINE} bytes")
            return
        if not any(cells) and len(cells) <= 1:
            continue
        bad = lines.undecodable and lines.undecodable[-1] >= line
        found = Problem(line, None, "not_utf8", "the line is not UTF-8") if bad else None
        if header:
            header = False
            found = found or header_problem(cells)
            if found is not None:
                yield found
                return
            continue
        yield found or (line, cells)
    if header:
        yield Problem(1, None, "empty_file", "the file is empty: it has no header")
