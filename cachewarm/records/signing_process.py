"""A signing process: a core of its own for signatures, as `cryptography` holds the GIL while it makes one.

It is told keys and unsigned records over its standard input, builds each ResponseData by the compiled template, signs
it, and knows nothing else: no ledger, no Redis, no files. The keys come through the pipe and stay in memory. It ends
with its pipe, and with the warmer that started it.
"""

import os
import signal
import sys
from dataclasses import dataclass
from typing import BinaryIO

from _fastocsp.ocsp.response import Template
from _fastocsp.ocsp.signing_runs import join_runs, sign_runs, split_runs
from cachewarm.keys.signing_key import SigningKey
from cachewarm.keys.soft_key import SoftKey
from cachewarm.records import signing_frames
from responder.domain.catalog import templates
from responder.domain.issuer import Issuer
from responder.domain.responder import ResponderCertificate
from responder.hidden_memory import hide_memory
from responder.parent import die_with_parent


@dataclass(frozen=True)
class Pair:
    """A key, and the templates of the answers that it signs by hash algorithm."""

    key: SigningKey
    templates: dict[int, Template]


def body_of(pem: bytes, issuer: Issuer, responder: ResponderCertificate) -> bytes:
    """Return the body of a PAIR frame."""
    return join_runs([pem, issuer.cert_der, responder.cert_der])


def read_pair(frame: signing_frames.Frame) -> Pair:
    """The pair of a PAIR frame."""
    pem, issuer_der, responder_der = split_runs(frame.body)
    issuer = Issuer.from_certificate(issuer_der, issuer_id="issuer", issuer_no=frame.pair)
    return Pair(SoftKey.from_pem(pem), templates(issuer, ResponderCertificate.from_der(responder_der)))


def sign_all(pair: Pair, body: bytes) -> bytes:
    """The body of the answer to a SIGN frame; ValueError for a record that is not this pair's."""
    return sign_runs(body, pair.templates, pair.key.sign)


def serve(asked: BinaryIO, answered: BinaryIO) -> None:
    """Answer until the pipe ends. A new pair of an issuer replaces the one before, key and all."""
    pairs: dict[int, Pair] = {}
    while (frame := signing_frames.read(asked)) is not None:
        if frame.kind == signing_frames.PAIR:
            pairs[frame.pair] = read_pair(frame)
        else:
            answered.write(signing_frames.pack(frame._replace(body=sign_all(pairs[frame.pair], frame.body))))
            answered.flush()


def main() -> None:
    """`python -m cachewarm.records.signing_process PARENT`."""
    die_with_parent(signal.SIGKILL, int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hide_memory()
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        # the warmer is gone, and so is whoever would read why
        os._exit(0)


if __name__ == "__main__":
    main()
