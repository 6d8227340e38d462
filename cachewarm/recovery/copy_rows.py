"""Counts the rows of a table in Postgres's binary COPY format while its bytes go by, without keeping them.

The format (Postgres manual, COPY): a signature, flags and the length of an extension that is skipped; per row an int16
with the number of fields, and per field an int32 with its length (-1: NULL) and its bytes; at the end an int16 of -1.
"""

import struct

from cachewarm.errors import Refused

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_FIXED = struct.Struct(">11sii")
_COUNT, _LENGTH = struct.Struct(">h"), struct.Struct(">i")


class RowCounter:
    """Fed with pieces of one table in order; `rows` so far, `complete` after the trailer."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""
        self._begun = self.complete = False
        self._fields = self._skip = 0
        self.rows = 0

    def feed(self, piece: bytes) -> None:
        """Take the next bytes. Refused when they are not in that format."""
        octets, at = self._rest + piece, 0
        if not self._begun:
            if len(octets) < _FIXED.size:
                self._rest = octets
                return
            signature, _, extension = _FIXED.unpack_from(octets)
            if signature != _SIGNATURE or extension < 0:
                raise self._wrong()
            self._begun, self._skip, at = True, extension, _FIXED.size
        self._rest = octets[self._walk(octets, at) :]

    def _walk(self, octets: bytes, at: int) -> int:
        """Return where the first incomplete length begins."""
        end, fields, length_of = len(octets), self._fields, _LENGTH.unpack_from
        at, self._skip = at + self._skip, 0
        while at < end and not self.complete:
            if fields:
                if at + 4 > end:
                    break
                (length,) = length_of(octets, at)
                at += 4 + (length if length > 0 else 0)
                fields -= 1
                self.rows += not fields
            elif at + 2 > end:
                break
            else:
                (fields,) = _COUNT.unpack_from(octets, at)
                at += 2
                if fields < 0:
                    self.complete, fields = True, 0
                elif not fields:
                    self.rows += 1
        if self.complete and at < end:
            raise self._wrong()
        self._fields, self._skip = fields, max(0, at - end)
        return min(at, end)

    def _wrong(self) -> Refused:
        return Refused(f"{self._name} is not in Postgres's binary COPY format")
