"""Judge CRLs for the CA signer by their fields while the bytes pass, as a million entries take 40 MB.

The fields before and after the entries are kept and parsed; the entries are only counted in bytes, and hashed. What the
entries say is the ledger's and the publish gate's matter. RFC 5280 5.1.2, 5.2.
"""

from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from _fastocsp.crl.fields import header
from cachewarm.ca_signer.policies import CLOCK_S, Forbidden, algorithm_of
from cachewarm.ca_signer.wire import Reason
from cachewarm.crl import rules
from cachewarm.crl.parse import ReadCRL, peek_crl
from cachewarm.crl.parts import COMPLETE, DELTA
from cachewarm.crl.rules import CAFacts, CRLProblem, Rule
from responder.domain.odd_names import BIT_STRING, SEQUENCE, emit

#: Bytes of the fields before the entries, and of the extensions after them.
MOST_HEAD, MOST_TAIL = 1 << 16, 1 << 16
#: Bytes of a whole TBSCertList.
MOST_CRL = 900 << 20
#: The longest window that CRL_VALIDITY allows.
LONGEST_S = 864_000
_INTEGER, _SEQUENCE, _EXTENSIONS, _TIMES = 0x02, 0x30, 0xA0, (0x17, 0x18)
_REASONS = {
    Rule.ISSUER: Reason.ISSUER,
    Rule.NUMBER: Reason.NUMBER,
    Rule.WINDOW: Reason.WINDOW,
    Rule.KEY_USAGE: Reason.PROFILE,
}


class PassingCRL:
    """A TBSCertList that comes in pieces: its fields are kept, its entries are not."""

    def __init__(self) -> None:
        self._head, self._tail = bytearray(), bytearray()
        self._entries_left = self._size = self._seen = 0
        self._is_head = True

    def feed(self, piece: bytes) -> None:
        """Take the next bytes. Forbidden when they cannot be those of a TBSCertList."""
        self._seen += len(piece)
        if self._is_head:
            self._head += piece
            at = self._outline()
            if at is None:
                if len(self._head) > MOST_HEAD:
                    raise Forbidden(Reason.FORM, "the fields before its entries are too long for a TBSCertList")
                return
            self._is_head = False
            piece = bytes(self._head[at:])
            del self._head[at:]
        passed = min(self._entries_left, len(piece))
        self._entries_left -= passed
        self._tail += piece[passed:]
        if self._seen > self._size or len(self._tail) > MOST_TAIL:
            raise Forbidden(Reason.FORM, "it has more bytes than a TBSCertList of its length")

    def fields(self) -> ReadCRL:
        """Return its fields, when all of it has passed. Forbidden when it was no TBSCertList in DER."""
        if self._is_head or self._entries_left or self._seen != self._size:
            raise Forbidden(Reason.FORM, "it is no whole TBSCertList")
        fields = bytes(self._head[self._content : self._fields_end]) + bytes(self._tail)
        tbs = header(_SEQUENCE, len(fields)) + fields
        try:
            algorithm = _element(fields, _end_of(fields, 0))
            return peek_crl(emit(SEQUENCE, tbs + algorithm + emit(BIT_STRING, b"\0")))
        except (ValueError, IndexError) as error:
            raise Forbidden(Reason.FORM, f"it is no TBSCertList: {error}") from error

    def _outline(self) -> int | None:
        """Return where the entries begin (or what follows the times), None before those bytes are there."""
        head = self._head
        try:
            if head[0] != _SEQUENCE:
                raise Forbidden(Reason.FORM, "it is no TBSCertList")
            self._content, end = _enter(head, 0)
            self._size = end
            at = self._content
            for wanted in ((_INTEGER,), (_SEQUENCE,), (_SEQUENCE,), _TIMES, _TIMES):
                if head[at] not in wanted:
                    raise Forbidden(Reason.FORM, "it is no TBSCertList of version 2 with both times")
                at = _end_of(head, at)
            if head[at] not in (_SEQUENCE, _EXTENSIONS):
                raise Forbidden(Reason.FORM, "it is no TBSCertList: neither entries nor extensions follow the times")
            self._fields_end = at
            if head[at] == _SEQUENCE:
                first, entries_end = _enter(head, at)
                self._entries_left, at = entries_end - first, first
        except IndexError:
            return None
        if end > MOST_CRL or at + self._entries_left > end:
            raise Forbidden(Reason.FORM, "its lengths do not fit")
        return at


def judge_crl(crl: ReadCRL, ca: x509.Certificate, now: int, *, last: int, spent: int) -> None:
    """Raise Forbidden unless it is a CRL of this CA that may follow the last one.

    `last` is the number of the last CRL of this part, -1 before the first; `spent` is the last number that the ledger
    gave out, so that no CRL has a number that no later one could be above.
    """
    if crl.inner_signature_algorithm != algorithm_of(ca):
        raise Forbidden(Reason.ALGORITHM, "it names another signature algorithm than the key's")
    facts = CAFacts.of(ca.public_bytes(Encoding.DER))
    problem = rules.first_problem(_problems(crl, facts, now))
    if problem is not None:
        raise Forbidden(_REASONS.get(problem.rule, Reason.FORM), problem.text)
    number = crl.number or 0
    if number <= last:
        raise Forbidden(Reason.NUMBER, f"its number {number} is not above {last}, that of the last CRL of this part")
    if number > spent:
        raise Forbidden(Reason.NUMBER, f"its number {number} was not taken from the ledger, whose last is {spent}")


def part_of(crl: ReadCRL, crl_url: str | None) -> str:
    """Return the name of the part that the CRL is (crl/parts.py). Forbidden for the URL of something else."""
    if crl.base_number is not None:
        return DELTA
    if not crl.urls or crl.urls == (crl_url,):
        return COMPLETE
    url, _, shard = crl.urls[0].rpartition("/")
    if len(crl.urls) > 1 or url != crl_url or not shard.isdecimal():
        raise Forbidden(Reason.PROFILE, f"its distribution point {' '.join(crl.urls)} is none of this CA's CRLs")
    return shard


def _problems(crl: ReadCRL, ca: CAFacts, now: int) -> Iterator[CRLProblem]:
    yield from rules.version_problems(crl)
    yield from rules.issuer_problems(crl, ca, is_ours=True)
    yield from rules.key_usage_problems(ca)
    yield from rules.window_problems(crl, now, skew_s=CLOCK_S)
    if crl.next_update is not None and crl.next_update - crl.this_update > LONGEST_S:
        yield CRLProblem(Rule.WINDOW, f"its window is longer than {LONGEST_S} s")
    if crl.this_update < now - CLOCK_S:
        yield CRLProblem(Rule.WINDOW, f"its thisUpdate is {now - crl.this_update} s ago")
    yield from rules.number_problems(crl)
    yield from rules.critical_problems(crl)
    if crl.base_number is not None and crl.number is not None and not 0 <= crl.base_number <= crl.number:
        yield CRLProblem(Rule.BASE, f"delta {crl.number} cannot be based on CRL {crl.base_number}")


def _enter(der: bytes | bytearray, at: int) -> tuple[int, int]:
    """Return where the content of the element there begins and ends; IndexError before its length is there."""
    width = der[at + 1]
    if width < 0x80:
        return at + 2, at + 2 + width
    if not 0x81 <= width <= 0x84:
        raise Forbidden(Reason.FORM, "a length is not one of DER")
    begin = at + 2 + (width & 0x7F)
    if begin > len(der):
        raise IndexError
    length = int.from_bytes(der[at + 2 : begin], "big")
    if length < 0x80 or length >> 8 * (width - 0x81) == 0:
        raise Forbidden(Reason.FORM, "a length is not the shortest one")
    return begin, begin + length


def _end_of(der: bytes | bytearray, at: int) -> int:
    """Return where the element ends; IndexError unless a byte follows it here."""
    end = _enter(der, at)[1]
    _ = der[end]
    return end


def _element(der: bytes, at: int) -> bytes:
    return der[at : _enter(der, at)[1]]
