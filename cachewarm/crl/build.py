"""A CRL as DER: the entries of the compiled encoder between the fields, signed over a streamed hash by any SigningKey.

RFC 5280 5.1 (fields), 5.2.1 (authority key identifier), 5.2.3 (number), 5.2.4 (delta), 5.2.5 (issuing distribution
point), 5.2.6 (freshest). Pure: values in, bytes out.
"""

from dataclasses import dataclass

from _fastocsp.crl.entry_buffer import EntryBuffer
from _fastocsp.crl.entry_writer import EntryWriter
from _fastocsp.crl.fields import Fields, Scope, certificate_list, tbs_frame
from cachewarm.ca.certificate import key_identifier
from cachewarm.ca.odd_names import load_certificate
from cachewarm.ca.profiles import check_url
from cachewarm.errors import Refused
from cachewarm.keys.signing_key import SigningKey, sign_parts
from responder.domain.issuer import Issuer

#: 20 bytes of a positive INTEGER, RFC 5280 5.2.3.
NUMBER_LIMIT = 1 << 159


@dataclass(frozen=True, kw_only=True)
class CRLFields:
    """The fields of a CRL besides its entries; times in epoch seconds. `base_number` makes it a delta CRL."""

    number: int
    this_update: int
    next_update: int
    scope: Scope
    base_number: int | None = None
    freshest_url: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.number < NUMBER_LIMIT:
            raise Refused(f"a CRL number must be between 0 and 2^159, not {self.number}")
        if not self.this_update < self.next_update:
            raise Refused("a CRL's nextUpdate must be after its thisUpdate")
        if self.base_number is not None and not 0 <= self.base_number <= self.number:
            raise Refused(f"delta CRL {self.number} cannot be based on CRL {self.base_number}")
        if self.base_number is not None and self.freshest_url is not None:
            raise Refused("a delta CRL cannot name a fresher one (RFC 5280 5.2.6)")
        for url in (self.scope.url, self.freshest_url):
            if url is not None:
                check_url(url, "crl_url")


@dataclass(frozen=True)
class EncodedEntries:
    """The entries of one reading of the ledger: their number, the latest revocation, DER of all and of each shard."""

    count: int
    latest: int
    parts: list[EntryBuffer]


def encoded_entries(writer: EntryWriter) -> EncodedEntries:
    """Take the entries that the writer encoded; it cannot write any more afterwards."""
    return EncodedEntries(writer.count, writer.latest, writer.take_parts())


def build(issuer: Issuer, signing_key: SigningKey, entries: EntryBuffer, latest: int, fields: CRLFields) -> bytes:
    """Return the DER of a v2 CRL with these entries, which are moved there; the latest was revoked at `latest`.

    Refused for a key that is not the issuer's, and for an entry that is revoked after thisUpdate.
    """
    ca = load_certificate(issuer.cert_der)
    if ca.public_key() != signing_key.public_key:
        raise Refused(f"the key does not belong to the certificate of {issuer.issuer_id}")
    if latest > fields.this_update:
        raise Refused("an entry is revoked after the CRL's thisUpdate")
    whole = Fields(
        signature_algorithm=signing_key.signature_algorithm,
        issuer=issuer.subject_der,
        authority_key_identifier=key_identifier(ca),
        number=fields.number,
        this_update=fields.this_update,
        next_update=fields.next_update,
        scope=fields.scope,
        base_number=fields.base_number,
        freshest_url=fields.freshest_url,
    )
    frame = before, after = tbs_frame(whole, len(entries))
    with memoryview(entries) as view:
        signature = sign_parts(signing_key, [before, view, after])
    return certificate_list(frame, entries, signing_key.signature_algorithm, signature)
