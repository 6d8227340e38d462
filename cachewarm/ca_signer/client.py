"""The CA signer as its clients see it: keys whose private halves are in another process.

A key signs what it is for: the purpose and the whole TBS go to the CA signer, which judges them. There is no way to
have a digest signed.
"""

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cachewarm.ca.ca_keys import CAKeys, LocalCAKeys, Purpose
from cachewarm.ca.odd_names import load_certificate
from cachewarm.ca_signer.wire import (
    END,
    MOST_REPLY,
    PIECE,
    Outcome,
    pack_length,
    pack_object,
    unpack_length,
    unpack_object,
)
from cachewarm.config import Settings
from cachewarm.errors import Refused, SignerAway, SignerUnavailable
from cachewarm.ledger.issuers import Issuer
from responder.domain.signature import PublicKey, scheme_of

#: Seconds that one call on the socket may take: a token's calls wait for each other for five. A status needs no key.
PATIENCE_S, STATUS_S = 15.0, 4.0
Parts = Sequence[bytes | bytearray | memoryview]


class CASigner:
    """The CA signer behind a socket. Each request has a connection of its own, so a restart is not noticed."""

    def __init__(self, path: Path, patience_s: float = PATIENCE_S) -> None:
        self.path, self._patience = path, patience_s

    def sign(self, issuer_id: str, purpose: Purpose, parts: Parts) -> bytes:
        """Return the signature over the parts. Refused with the reason, SignerUnavailable, SignerAway."""
        request = {"do": "sign", "issuer": issuer_id, "purpose": purpose.value}
        return self._ask(request, parts)[1]

    def open(self, issuer_id: str, purpose: Purpose) -> None:
        """Have the key opened, and its state looked at, before anything is made for it. Raises as `sign` does."""
        self._ask({"do": "open", "issuer": issuer_id, "purpose": purpose.value})

    def faults(self) -> dict[str, str]:
        """Return what is wrong with the keys of some issuers, by id. SignerUnavailable, SignerAway."""
        words = self._ask({"do": "status"}, patience_s=STATUS_S)[0]
        return {str(issuer_id): str(text) for issuer_id, text in words.get("faults", {}).items()}

    def _ask(
        self, request: dict[str, Any], parts: Parts | None = None, patience_s: float | None = None
    ) -> tuple[dict[str, Any], bytes]:
        patience_s = self._patience if patience_s is None else patience_s
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(patience_s)
                line.connect(str(self.path))
                # a refusal may come before all is sent, and ends the connection: it is read all the same
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    _send(line, request, parts)
                words = unpack_object(_frame(line, MOST_REPLY))
                if words.get("outcome") == Outcome.SIGNED:
                    return words, _frame(line, MOST_REPLY)
        except (TimeoutError, BlockingIOError) as error:
            raise SignerAway(f"the CA signer at {self.path} has not answered for {patience_s:.0f} s") from error
        except PermissionError as error:
            raise SignerAway(f"{self.path} may not be used by this account: see FASTOCSP_CA_SIGNER_UIDS") from error
        except (OSError, ValueError) as error:
            raise SignerAway(
                f"the CA signer does not run ({self.path}: {_why(error)}): start `fastocsp ca-signer` on this host"
            ) from error
        if words.get("outcome") == Outcome.DONE:
            return words, b""
        text = str(words.get("text"))
        raise SignerUnavailable(text) if words.get("outcome") == Outcome.UNAVAILABLE else Refused(text)


class RemoteKey:
    """The key of one CA for one purpose, behind the CA signer."""

    def __init__(self, signer: CASigner, issuer_id: str, public_key: PublicKey, purpose: Purpose) -> None:
        self._signer, self._issuer_id, self._purpose = signer, issuer_id, purpose
        self._public_key, self._scheme = public_key, scheme_of(public_key)

    @property
    def public_key(self) -> PublicKey:
        """The public half, of the CA's certificate; the CA signer refuses when its key is another one."""
        return self._public_key

    @property
    def signature_algorithm(self) -> bytes:
        """DER of the AlgorithmIdentifier of its signatures."""
        return self._scheme.algorithm

    def sign(self, tbs: bytes) -> bytes:
        """Signature over those bytes. Refused when they are not what the key is for."""
        return self.sign_parts([tbs])

    def sign_parts(self, parts: Parts) -> bytes:
        """Signature over the parts one after the other, which are sent as they are."""
        return self._signer.sign(self._issuer_id, self._purpose, parts)

    def sign_digest(self, digest: bytes) -> bytes:  # noqa: ARG002 - the interface of a key
        """Raise Refused: the CA signer judges what it signs."""
        raise Refused("the CA signer signs no digest: it must see what it signs")

    def __repr__(self) -> str:
        return f"<RemoteKey of {self._issuer_id} for {self._purpose}>"


class RemoteCAKeys:
    """The keys that a CA signer holds."""

    def __init__(self, signer: CASigner) -> None:
        self.signer = signer

    def key_of(self, issuer: Issuer, purpose: Purpose) -> RemoteKey:
        """Return the key of that CA for that purpose, after the CA signer has opened it; see CAKeys."""
        if issuer.key_path is None:
            raise Refused(f"the private key of {issuer.issuer_id} is not here")
        try:
            public_key = load_certificate(issuer.cert_der).public_key()
            scheme_of(public_key)
        except ValueError as error:
            raise Refused(f"the key of {issuer.issuer_id} cannot sign here: {error}") from error
        self.signer.open(issuer.issuer_id, purpose)
        return RemoteKey(self.signer, issuer.issuer_id, public_key, purpose)  # type: ignore[arg-type]


def ca_keys_of(settings: Settings) -> CAKeys:
    """Return the way to the keys of CAs that FASTOCSP_CA_SIGNER chooses."""
    path = settings.ca_signer_socket
    return LocalCAKeys(settings.passphrase) if path is None else RemoteCAKeys(CASigner(path))


def _send(line: socket.socket, request: dict[str, Any], parts: Parts | None) -> None:
    line.sendall(pack_object(request))
    if parts is None:
        return
    for part in parts:
        with memoryview(part) as view:  # released at once: the caller's buffer may have no view when this fails
            for at in range(0, len(view), PIECE):
                with view[at : at + PIECE] as piece:
                    line.sendall(pack_length(len(piece)))
                    line.sendall(piece)
    line.sendall(END)


def _frame(line: socket.socket, most: int) -> bytes:
    size = unpack_length(_exactly(line, 4))
    if size > most:
        raise ValueError(f"a frame of {size} bytes")
    return _exactly(line, size)


def _exactly(line: socket.socket, size: int) -> bytes:
    octets = bytearray()
    while len(octets) < size:
        piece = line.recv(min(size - len(octets), PIECE))
        if not piece:
            raise ConnectionResetError("the connection ended")
        octets += piece
    return bytes(octets)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
