"""What the CA signer's policies allow, and each thing that they do not."""

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from cachewarm.ca.authority import Authority, init_root
from cachewarm.ca.ca_keys import Purpose
from cachewarm.ca.certificate import moment, parse_subject
from cachewarm.ca.profiles import CA_KEY_USAGE, DAY_S, DIGITAL_SIGNATURE, key_usage
from cachewarm.ca.subordinate import make_request
from cachewarm.ca_signer.policies import Forbidden, Terms, judge
from cachewarm.ca_signer.wire import Reason
from cachewarm.keys.soft_key import KeyKind, SoftKey
from tests.cachewarm.ca_signer.tbs import (
    LEAF_KEY,
    UNKNOWN,
    Extensions,
    leaf_extensions,
    responder_extensions,
    sub_ca_extensions,
    tbs_of,
)
from tests.cachewarm.conftest import NOW, House, house_of

RESPONDER_S = 30 * DAY_S
LEAF, SUB, RESPONDER = Purpose.CERTIFICATE, Purpose.SUB_CA, Purpose.RESPONDER
EXTENSIONS: dict[Purpose, Callable[[Authority], Extensions]] = {
    LEAF: leaf_extensions,
    SUB: sub_ca_extensions,
    RESPONDER: responder_extensions,
}


def terms_of(ca: Authority) -> Terms:
    """Return what a TBS of that CA is judged by."""
    return Terms(ca=ca.certificate, now=NOW, responder_validity_s=RESPONDER_S)


def refused(ca: Authority, purpose: Purpose, tbs: bytes) -> Reason:
    """Return the reason for which it is refused."""
    with pytest.raises(Forbidden) as caught:
        judge(purpose, tbs, terms_of(ca))
    return caught.value.reason


@pytest.mark.parametrize("purpose", EXTENSIONS)
def test_certificate_of_a_profile_is_allowed_for_its_purpose_alone(house: House, purpose: Purpose) -> None:
    """Each for its own purpose, and for no other one."""
    tbs = tbs_of(house.root, EXTENSIONS[purpose](house.root), now=NOW)
    judge(purpose, tbs, terms_of(house.root))
    for other in Purpose:
        if other is not purpose:
            assert refused(house.root, other, tbs)


@pytest.mark.parametrize("purpose", EXTENSIONS)
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"issuer": parse_subject("CN=Test Root,O=Example,C=FR")}, Reason.ISSUER),
        ({"subject": parse_subject("CN=Test Root,O=Example,C=DE")}, Reason.ISSUER),
        ({"signed_by": SoftKey.generate(KeyKind.ED25519)}, Reason.ALGORITHM),
        ({"window": (-300, 4000 * DAY_S)}, Reason.WINDOW),
        ({"window": (-30 * DAY_S, DAY_S)}, Reason.WINDOW),
        ({"window": (5 * DAY_S, 6 * DAY_S)}, Reason.WINDOW),
        ({"window": (-300, -10)}, Reason.WINDOW),
    ],
)
def test_names_algorithm_and_window_are_the_cas(
    p256: House, purpose: Purpose, changed: dict[str, object], reason: Reason
) -> None:
    """Another issuer, the CA's own subject, another algorithm, a window outside the CA's or around another time."""
    tbs = tbs_of(p256.root, EXTENSIONS[purpose](p256.root), now=NOW, **changed)  # type: ignore[arg-type]
    assert refused(p256.root, purpose, tbs) is reason


@pytest.mark.parametrize("purpose", EXTENSIONS)
def test_tbs_of_another_ca_is_refused(p256: House, purpose: Purpose) -> None:
    """Its name, or the identifier of its key under this CA's name."""
    other = p256.sub
    assert refused(p256.root, purpose, tbs_of(other, EXTENSIONS[purpose](other), now=NOW)) is Reason.ISSUER
    twin = Authority(init_root(LEAF_KEY, p256.root.certificate.subject, now=NOW).certificate, LEAF_KEY)
    extensions = EXTENSIONS[purpose](twin) | {"own": EXTENSIONS[purpose](p256.root)["own"]}
    assert refused(p256.root, purpose, tbs_of(twin, extensions, now=NOW)) is Reason.ISSUER


@pytest.mark.parametrize("purpose", EXTENSIONS)
def test_each_extension_of_a_profile_is_needed_and_no_other_is_allowed(p256: House, purpose: Purpose) -> None:
    """One that lacks and one too many are both refused; names are the one that a leaf may lack here."""
    right = EXTENSIONS[purpose](p256.root)
    for name in right.keys() - {"names"}:
        rest = {each: value for each, value in right.items() if each != name}
        assert refused(p256.root, purpose, tbs_of(p256.root, rest, now=NOW)) is Reason.PROFILE, name
    more = right | {"more": (UNKNOWN, False)}
    assert refused(p256.root, purpose, tbs_of(p256.root, more, now=NOW)) is Reason.PROFILE


@pytest.mark.parametrize(
    ("purpose", "name", "value", "critical"),
    [
        (LEAF, "constraints", x509.BasicConstraints(ca=True, path_length=0), True),
        (LEAF, "usage", CA_KEY_USAGE, True),
        (LEAF, "usage", key_usage("digital_signature", "key_cert_sign"), True),
        (LEAF, "extended", x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False),
        (LEAF, "extended", x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
        (LEAF, "extended", x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False),
        (LEAF, "nocheck", x509.OCSPNoCheck(), False),
        (LEAF, "own", x509.SubjectKeyIdentifier(b"\1" * 20), False),
        (LEAF, "above", x509.AuthorityKeyIdentifier(b"\1" * 20, None, None), False),
        (SUB, "constraints", x509.BasicConstraints(ca=False, path_length=None), True),
        (SUB, "constraints", x509.BasicConstraints(ca=True, path_length=0), False),
        (SUB, "usage", DIGITAL_SIGNATURE, True),
        (SUB, "extended", x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (RESPONDER, "constraints", x509.BasicConstraints(ca=True, path_length=None), True),
        (RESPONDER, "usage", key_usage("digital_signature", "crl_sign"), True),
        (RESPONDER, "extended", x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (RESPONDER, "names", x509.SubjectAlternativeName([x509.DNSName("a.example")]), False),
    ],
)
def test_value_outside_the_profile_is_refused(
    p256: House, purpose: Purpose, name: str, value: x509.ExtensionType, critical: bool
) -> None:
    """CA flags, usages, key identifiers, extensions of other profiles."""
    extensions = EXTENSIONS[purpose](p256.root) | {name: (value, critical)}
    assert refused(p256.root, purpose, tbs_of(p256.root, extensions, now=NOW)) in (Reason.PROFILE, Reason.ISSUER)


def test_path_length_of_the_ca_holds(p256: House) -> None:
    """Below a CA with pathLenConstraint 0 there is no other CA; below one without it there may be a long path."""
    tbs = tbs_of(p256.sub, sub_ca_extensions(p256.sub), now=NOW)
    assert refused(p256.sub, SUB, tbs) is Reason.PROFILE
    deep = sub_ca_extensions(p256.root) | {"constraints": (x509.BasicConstraints(ca=True, path_length=None), True)}
    judge(SUB, tbs_of(p256.root, deep, now=NOW), terms_of(p256.root))


def test_responder_certificate_that_lives_long_is_refused(p256: House) -> None:
    """It has nocheck, so it cannot be revoked: its life is that of the setting."""
    tbs = tbs_of(p256.root, responder_extensions(p256.root), now=NOW, window=(-300, RESPONDER_S + DAY_S))
    assert refused(p256.root, RESPONDER, tbs) is Reason.WINDOW


def test_certificate_of_the_cas_own_key_is_refused(p256: House) -> None:
    """As a responder's it would make the CA's key sign answers."""
    ca = p256.root
    tbs = tbs_of(ca, responder_extensions(ca, ca.key), now=NOW, key=ca.key)
    assert refused(ca, RESPONDER, tbs) is Reason.PROFILE


def test_self_signed_certificate_is_refused(p256: House) -> None:
    """A root is signed where it is made, by `ca init`, and never through the CA signer."""
    root = init_root(p256.root.key, p256.root.certificate.subject, now=NOW).certificate.tbs_certificate_bytes
    for purpose in EXTENSIONS:
        assert refused(p256.root, purpose, root) in (Reason.ISSUER, Reason.PROFILE)


def test_request_of_the_cas_own_key_and_name_is_allowed_and_another_is_not(house: House) -> None:
    """For a renewal by a CA above."""
    own = x509.load_pem_x509_csr(make_request(house.root.key, house.root.certificate.subject))
    judge(Purpose.REQUEST, own.tbs_certrequest_bytes, terms_of(house.root))
    for key, subject in ((LEAF_KEY, house.root.certificate.subject), (house.root.key, parse_subject("CN=Other"))):
        tbs = x509.load_pem_x509_csr(make_request(key, subject)).tbs_certrequest_bytes
        assert refused(house.root, Purpose.REQUEST, tbs) is Reason.ISSUER


def rubbish() -> dict[str, bytes]:
    """Return what is neither certificate, request nor CRL."""
    ca = house_of(KeyKind.P256).root
    good = tbs_of(ca, leaf_extensions(ca), now=NOW)
    digest = Hash(SHA256())
    digest.update(good)
    builder = ocsp.OCSPResponseBuilder().add_response(
        ca.certificate, ca.certificate, SHA256(), ocsp.OCSPCertStatus.GOOD, moment(NOW), moment(NOW + 60), None, None
    )
    private = ca.key._private_key  # type: ignore[attr-defined]
    answer = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, ca.certificate).sign(private, SHA256())
    return {
        "digest": digest.finalize(),
        "answer": answer.tbs_response_bytes,
        "nothing": b"",
        "cut": good[:-1],
        "longer": good + b"\0",
        "long form of a length": b"\x30\x84\x00\x00" + good[2:],
        "version 1": good.replace(bytes.fromhex("a003020102"), b"", 1),
        "text": b"sign this",
    }


@pytest.mark.parametrize("what", rubbish())
def test_digest_answer_and_rubbish_are_refused_for_every_purpose(what: str) -> None:
    """An OCSP answer is never signed by a CA's key here; a digest is no TBS."""
    ca = house_of(KeyKind.P256).root
    for purpose in (*EXTENSIONS, Purpose.REQUEST):
        assert refused(ca, purpose, rubbish()[what]) is Reason.FORM
