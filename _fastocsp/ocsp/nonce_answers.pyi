"""Answers with a nonce, signed a batch at a time (RFC 6960 4.4.1, RFC 9654)."""

from collections import OrderedDict
from collections.abc import Callable
from typing import final

from _fastocsp.ocsp.response import Template
from _fastocsp.revoked.image import RevokedImage

@final
class SharedStatement:
    """A statement that holds at one moment for each certificate of an issuer that is not revoked and expires later."""

    def __new__(cls, template: Template, record: bytes, until: int, sign: Callable[[bytes], bytes]) -> SharedStatement:
        """Take the unsigned record, the epoch seconds before which no certificate that it is about may end, and what
        signs the bytes of a ResponseData.
        """

def answer_batch(
    octets: bytes,
    most: int,
    shared: dict[tuple[int, int], SharedStatement],
    recent: OrderedDict[tuple[int, bytes], int],
    listed: RevokedImage,
) -> tuple[list[bytes], list[tuple[int, int, bytes]], list[tuple[int, Exception]], int, int]:
    """Read up to `most` frames of `octets` and answer those about one certificate of which a shared statement holds.

    `shared` has the statements by issuer number and hash algorithm; `recent` the epoch seconds of issued certificates'
    ends by issuer number and serial key, the one asked for last at its end; `listed` the revoked ones. Returns the DONE
    frames, the (number, kind, body) of the frames that are for others to answer, the (number, error) of those that
    could not be signed, how many frames were read, and how many bytes they took. Raises WireError when what follows
    cannot become a frame.
    """
