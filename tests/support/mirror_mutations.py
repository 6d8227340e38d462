"""CRLs broken at random, under a good signature or none, and what the mirror makes of them.

`python -m tests.support.mirror_mutations [COUNT [SEED]]` runs 100,000 of them and prints what became of them.
"""

import base64
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from _fastocsp.crl.fields import header
from cachewarm.crl.rules import CRLProblem, PreviousCRL
from cachewarm.mirror.faults import NotMirrored
from cachewarm.mirror.fetch import Limits, Validators, fetch
from cachewarm.mirror.validate import Acceptance, ValidatedCRL, choose_crl, validate, validate_delta
from tests.support.foreign_ca import HOLD, REMOVED, STOLEN, ForeignCA

CA = ForeignCA()
_POINT = x509.DistributionPoint([x509.UniformResourceIdentifier("http://x.example/delta")], None, None, None)
_DATE = ((x509.InvalidityDate(datetime(2024, 1, 1)), False),)  # noqa: DTZ001 - as the builder takes it
SEEDS = [
    CA.crl(1, {300: STOLEN, 2**150: HOLD, 5: None}, entry_more=_DATE, more=((x509.FreshestCRL([_POINT]), False),)),
    CA.crl(2, {}),
    CA.crl(3, {7: REMOVED, 8: None}, base=1),
    CA.crl(None, {9: None}),
]
_ALGORITHM = bytes.fromhex("300a06082a8648ce3d040302")
_LIMITS = Limits(1 << 20, 1, 1)
_REASONS = {0, 1, 2, 3, 4, 5, 6, 8, 9, 10}
_ODD = [b"", b"\x00", b"\xff", b"\x80", b"\x7f" * 25, b"\xff" * 21, b"99991231235959Z", b"00000101000000Z", b"x" * 300]


def outcome(body: bytes, path: Path | None = None) -> str:
    """The rule that refused it, or `taken`; any exception but those of the mirror is a bug and passes through."""
    try:
        if path is not None:
            path.write_bytes(body)
            body = fetch(path.as_uri(), Validators(), _LIMITS).body or b""
    except NotMirrored as error:
        return error.fault.value
    words = [_outcome(body, is_delta=is_delta) for is_delta in (False, True)]
    return next((word for word in words if word == "taken"), words[0])


def _outcome(body: bytes, *, is_delta: bool) -> str:
    now, previous = int(time.time()), PreviousCRL(1, 0)
    read = choose_crl(body, CA.cert_der, is_delta=is_delta)
    if isinstance(read, CRLProblem):
        return read.rule.value
    accepted = Acceptance(accept_unnumbered=not is_delta)
    judge = validate_delta if is_delta else validate
    found = judge(read, CA.cert_der, accepted, previous if is_delta else PreviousCRL(), now=now)
    if isinstance(found, CRLProblem):
        return found.rule.value
    require_importable(found)
    return "taken"


def require_importable(crl: ValidatedCRL) -> None:
    """AssertionError when the ledger would refuse a row: its bounds of serial numbers, times, reasons and dates."""
    assert 0 <= crl.number < 1 << 159
    datetime.fromtimestamp(crl.read.this_update, UTC)
    datetime.fromtimestamp(crl.next_update, UTC)
    reader, stream = crl.rows(), b""
    while piece := reader.read():
        stream += piece
    at, count = 19, 0
    while stream[at : at + 2] != b"\xff\xff":
        columns, at = [], at + 2
        for _ in range(4):
            (size,) = struct.unpack_from(">i", stream, at)
            columns.append(stream[at + 4 : at + 4 + size] if size >= 0 else None)
            at += 4 + max(size, 0)
        serial, when, reason, date = columns
        assert serial is not None
        assert when is not None
        assert reason is not None
        assert _is_serial_number(serial)
        assert 0 <= int.from_bytes(when) <= crl.latest
        assert int.from_bytes(reason) in _REASONS
        assert date is None or 0 < int.from_bytes(date) < 253402214400
        count += 1
    assert count == crl.entries


def _is_serial_number(key: bytes) -> bool:
    """As the SQL function of that name: a magnitude, or 00 and the content of a negative INTEGER."""
    if key[0] == 0 and len(key) > 1:
        return len(key) <= 21 and key[1] >= 0x80
    return 1 <= len(key) <= 20


def mutations(count: int, seed: int) -> Iterator[bytes]:
    """So many broken CRLs, the same for the same seed but for signatures."""
    dice = random.Random(seed)
    for _ in range(count):
        yield mutated(dice, dice.choice(SEEDS))


def mutated(dice: random.Random, der: bytes) -> bytes:
    """One change or a few: of bytes, of the tree, of the armour; most of them signed again."""
    kind = dice.random()
    if kind < 0.15:
        return _bytes_changed(dice, der)
    if kind < 0.25:
        return _armoured(dice, der)
    tbs = _tbs(der)
    if kind < 0.5:
        return signed(_bytes_changed(dice, tbs))
    tree = _tree(tbs)
    for _ in range(dice.randint(1, 3)):
        _change(dice, tree)
    return signed(_encoded(tree[0]))


def signed(tbs: bytes) -> bytes:
    """A CertificateList around these bytes, with a signature that verifies."""
    signature = b"\x00" + CA.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    content = tbs + _ALGORITHM + header(0x03, len(signature)) + signature
    return header(0x30, len(content)) + content


def _bytes_changed(dice: random.Random, octets: bytes) -> bytes:
    changed = bytearray(octets)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(changed))
        match dice.randrange(4):
            case 0:
                changed[at] ^= 1 << dice.randrange(8)
            case 1:
                changed[at] = dice.choice((0, 0x7F, 0x80, 0xFF, 0x30, 0x02, 0x17, 0x18))
            case 2:
                del changed[at : at + dice.randint(1, 8)]
            case _:
                changed[at:at] = dice.randbytes(dice.randint(1, 8))
        if not changed:
            return b""
    return bytes(changed)


def _armoured(dice: random.Random, der: bytes) -> bytes:
    text = b"-----BEGIN X509 CRL-----\n" + base64.encodebytes(der) + b"-----END X509 CRL-----\n"
    text = dice.choice((b"", b"\xef\xbb\xbf", b"text\n", text)) + text
    if dice.random() < 0.3:
        text = text.decode("latin-1").encode("utf-16")
    return _bytes_changed(dice, text) if dice.random() < 0.7 else text


def _tbs(der: bytes) -> bytes:
    begin, content = _element(der, 0)[1:]
    end = sum(_element(der, begin)[1:])
    assert content
    return der[begin:end]


Node = list[Any]  # tag, then children or content


def _tree(octets: bytes) -> list[Node]:
    found, at = [], 0
    while at < len(octets):
        tag, begin, size = _element(octets, at)
        content = octets[begin : begin + size]
        found.append([tag, _tree(content) if tag & 0x20 else content])
        at = begin + size
    return found


def _element(octets: bytes, at: int) -> tuple[int, int, int]:
    """Tag, where the content begins, its size; the seeds are well formed."""
    first = octets[at + 1]
    if first < 0x80:
        return octets[at], at + 2, first
    size = first & 0x7F
    return octets[at], at + 2 + size, int.from_bytes(octets[at + 2 : at + 2 + size])


def _encoded(node: Node) -> bytes:
    tag, content = node
    body = b"".join(map(_encoded, content)) if isinstance(content, list) else content
    return header(tag, len(body)) + body


def _change(dice: random.Random, tree: list[Node]) -> None:
    """One node: another tag, other content, gone, twice, or somewhere else."""
    places = [(siblings, index) for siblings in _levels(tree) for index in range(len(siblings))]
    siblings, index = dice.choice(places)
    node = siblings[index]
    match dice.randrange(6):
        case 0:
            node[0] = dice.choice((node[0] ^ 0x20, 0x02, 0x05, 0x17, 0x18, 0x30, 0x0A, 0xA0, dice.randrange(31)))
            if isinstance(node[1], bytes) is bool(node[0] & 0x20):
                node[1] = _encoded([0x30, node[1]]) if isinstance(node[1], list) else node[1]
        case 1:
            node[1] = dice.choice(_ODD)
        case 2 if len(siblings) > 1:
            del siblings[index]
        case 3:
            siblings.insert(index, _copy(node))
        case 4:
            others, there = dice.choice(places)
            node[1] = _copy(others[there])[1] if others[there] is not node else node[1]
        case _:
            if isinstance(node[1], bytes) and node[1]:
                node[1] = _bytes_changed(dice, node[1])


def _levels(tree: list[Node]) -> Iterator[list[Node]]:
    yield tree
    for _, content in tree:
        if isinstance(content, list):
            yield from _levels(content)


def _copy(node: Node) -> Node:
    return [node[0], [_copy(child) for child in node[1]] if isinstance(node[1], list) else node[1]]


def main(arguments: list[str]) -> None:
    """Run and count."""
    count = int(arguments[0]) if arguments else 100_000
    seed = int(arguments[1]) if len(arguments) > 1 else int.from_bytes(random.SystemRandom().randbytes(4))
    begun, found = time.monotonic(), Counter[str]()
    sys.stdout.write(f"seed {seed}\n")
    with tempfile.TemporaryDirectory() as folder:
        for number, body in enumerate(mutations(count, seed)):
            try:
                found[outcome(body, Path(folder, "source"))] += 1
            except BaseException:
                sys.stdout.write(f"input {number}: {body.hex()}\n")
                raise
    sys.stdout.write(f"{count} inputs in {time.monotonic() - begun:.0f} s: {dict(found.most_common())}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
