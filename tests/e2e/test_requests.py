"""What is asked, as opposed to how: the O rules, over POST and GET, in the plain and in the cold way."""

import base64
import secrets
import time
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from tests.e2e import wanted
from tests.e2e.wanted import Demo, Said, assert_dated, assert_good, assert_refused, demo_of, status_in
from tests.support import odd_requests as odd
from tests.support.breakage import metrics
from tests.support.http import Talk, chunked_octets, get_octets, post_octets, question
from tests.support.instance import Instance

GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
WAYS: dict[str, Callable[[bytes], bytes]] = {
    "POST": post_octets,
    "POST by issuer": lambda der: post_octets(der, "/.well-known/pki/ocsp/demo"),
    "GET": lambda der: get_octets("/ocsp/" + base64.b64encode(der).decode()),
    "cold": chunked_octets,
}


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest, instance: Instance) -> Callable[[bytes], Said]:
    """One question in one way, on a connection of its own."""

    def asked(der: bytes) -> Said:
        with Talk(instance.port) as talk:
            return talk.ask(WAYS[request.param](der))

    return asked


@pytest.fixture
def demo(instance: Instance) -> Demo:
    """The shared instance's."""
    return demo_of(instance)


def assert_uncacheable_good(demo: Demo, said: Said) -> None:
    """Good, and no cache may keep it (H-14)."""
    status, fields, body = said
    assert (status, fields["cache-control"]) == (200, "no-store")
    assert not {"etag", "expires", "last-modified"} & fields.keys()
    assert status_in(body, demo.good_cert.serial_number) is GOOD
    assert_dated(fields)


Ask = Callable[[bytes], Said]


@pytest.mark.parametrize("size", [1, 15, 16, 32])
@pytest.mark.parametrize("critical", [False, True])
def test_a_nonce_comes_back(demo: Demo, ask: Ask, size: int, *, critical: bool) -> None:
    """O-10: bit for bit, in responseExtensions, signed anew, not to be stored."""
    octets = secrets.token_bytes(size)
    said = ask(
        odd.request(
            odd.cert_id(demo.issuer, demo.good_cert.serial_number),
            extensions=[odd.nonce(octets, critical=critical)],
        )
    )
    assert_uncacheable_good(demo, said)
    answer = ocsp.load_der_ocsp_response(said[2])
    assert [one.value.nonce for one in answer.extensions if isinstance(one.value, x509.OCSPNonce)] == [octets]


@pytest.mark.parametrize("size", [0, 33, 128, 129, 1000])
def test_a_nonce_out_of_range_is_refused(demo: Demo, ask: Ask, size: int) -> None:
    """O-11, P-1."""
    assert_refused(
        ask(
            odd.request(
                odd.cert_id(demo.issuer, demo.good_cert.serial_number),
                extensions=[odd.nonce(b"n" * size)],
            )
        )
    )


def test_without_nonce_there_is_none(demo: Demo, ask: Ask) -> None:
    """O-12."""
    said = ask(demo.good)
    assert_good(demo, said)
    assert len(ocsp.load_der_ocsp_response(said[2]).extensions) == 0


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("parameters", [odd.NULL, b""], ids=["NULL", "absent"])
def test_the_cert_id_comes_back_octet_for_octet(demo: Demo, ask: Ask, digest: str, parameters: bytes) -> None:
    """O-13 .. O-15: in the hash asked, with its NULL or without."""
    asked = odd.cert_id(demo.issuer, demo.good_cert.serial_number, digest, parameters=parameters)
    said = ask(odd.request(asked))
    assert_good(demo, said)
    assert asked in said[2]


def test_several_cert_ids_are_all_answered(demo: Demo, ask: Ask) -> None:
    """O-6: in their order, not to be stored; two hashes of one certificate too."""
    good, revoked = demo.good_cert.serial_number, demo.revoked_cert.serial_number
    asked = [
        odd.cert_id(demo.issuer, good),
        odd.cert_id(demo.issuer, revoked),
        odd.cert_id(demo.issuer, good, "sha256"),
    ]
    status, fields, body = ask(odd.request(*asked))
    assert (status, fields["cache-control"]) == (200, "no-store")
    singles = list(ocsp.load_der_ocsp_response(body).responses)
    assert [(one.serial_number, one.certificate_status) for one in singles] == [
        (good, GOOD),
        (revoked, REVOKED),
        (good, GOOD),
    ]
    assert [body.index(one) for one in asked] == sorted(body.index(one) for one in asked)


def test_one_unknown_among_several(demo: Demo, ask: Ask) -> None:
    """O-6: all answered, or the whole refused; never good."""
    asked = odd.request(odd.cert_id(demo.issuer, demo.good_cert.serial_number), odd.cert_id(demo.issuer, 5))
    assert_refused(ask(asked))


def test_a_thousand_cert_ids(demo: Demo, instance: Instance) -> None:
    """O-6: success, refusal or 413."""
    asked = odd.request(*(odd.cert_id(demo.issuer, demo.good_cert.serial_number) for _ in range(1000)))
    with Talk(instance.port) as talk:
        assert talk.ask(post_octets(asked))[0] == 413
    asked = odd.request(*(odd.cert_id(demo.issuer, demo.good_cert.serial_number) for _ in range(150)))
    assert len(asked) <= 16384
    with Talk(instance.port) as talk:
        _, _, body = talk.ask(post_octets(asked))
    assert len(list(ocsp.load_der_ocsp_response(body).responses)) == 150


NAMES = {
    "directoryName": odd.der(
        0xA4,
        odd.der(
            0x30,
            odd.der(0x31, odd.der(0x30, bytes.fromhex("0603550403"), odd.der(12, b"me"))),
        ),
    ),
    "rfc822Name": odd.der(0x81, b"me@example.com"),
    "URI": odd.der(0x86, b"http://me"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_requestor_name_changes_nothing(demo: Demo, ask: Ask, name: str) -> None:
    """O-7."""
    assert_good(
        demo,
        ask(odd.request(odd.cert_id(demo.issuer, demo.good_cert.serial_number), requestor_name=NAMES[name])),
    )


@pytest.mark.parametrize("valid", [True, False])
def test_a_signed_request(demo: Demo, ask: Ask, *, valid: bool) -> None:
    """O-8: the signature is ignored, right or wrong."""
    plain = odd.request(odd.cert_id(demo.issuer, demo.good_cert.serial_number), requestor_name=NAMES["directoryName"])
    tbs = plain[2:] if plain[1] < 128 else plain[2 + (plain[1] & 127) :]
    signed = ec.generate_private_key(ec.SECP256R1()).sign(tbs if valid else b"else", ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    signature = odd.der(0x30, algorithm, odd.der(3, b"\0", signed))
    asked = odd.request(
        odd.cert_id(demo.issuer, demo.good_cert.serial_number),
        requestor_name=NAMES["directoryName"],
        signature=signature,
    )
    assert_good(demo, ask(asked))


def test_extensions(demo: Demo, ask: Ask) -> None:
    """O-9, O-27: unknown ones are ignored unless critical, in both places; preferences are ignored."""
    asked = odd.cert_id(demo.issuer, demo.good_cert.serial_number)
    harmless, critical = (
        odd.extension(odd.HARMLESS, b"x"),
        odd.extension(odd.HARMLESS, b"x", critical=True),
    )
    acceptable = odd.extension(
        bytes.fromhex("06092b0601050507300104"), odd.der(0x30, bytes.fromhex("06092b0601050507300101"))
    )
    assert_good(demo, ask(odd.request(asked, extensions=[harmless])))
    assert_good(demo, ask(odd.request(asked, single_extensions=[harmless])))
    assert_good(demo, ask(odd.request(asked, extensions=[acceptable])))
    assert_refused(ask(odd.request(asked, extensions=[critical])))
    assert_refused(ask(odd.request(asked, single_extensions=[critical])))
    assert_refused(ask(odd.request(asked, extensions=[odd.nonce(b"n" * 16), critical])))
    assert_refused(
        ask(odd.request(asked, extensions=[odd.nonce(b"a"), odd.nonce(b"b")])),
        wanted.MALFORMED,
        400,
    )


def test_foreign_and_wrong_cert_ids(demo: Demo, ask: Ask) -> None:
    """O-16, O-29: another CA, hashes that do not belong together, of wrong length, an unknown algorithm."""
    serial, other = demo.good_cert.serial_number, secrets.token_bytes(20)
    wrong = [
        odd.cert_id(demo.good_cert, serial),
        odd.cert_id(demo.issuer, serial, name=other),
        odd.cert_id(demo.issuer, serial, key=other),
        odd.cert_id(demo.issuer, serial, name=other, key=other),
        odd.cert_id(demo.issuer, serial, key=b"k" * 19),
        odd.cert_id(demo.issuer, serial, name=b"", key=b""),
        odd.cert_id(demo.issuer, serial, "md5"),
        odd.cert_id(demo.issuer, serial, "sha256", name=other, key=other),
    ]
    for one in wrong:
        assert_refused(ask(odd.request(one)))
        assert_refused(ask(odd.request(one, extensions=[odd.nonce(b"n" * 16)])))
        assert_refused(ask(odd.request(odd.cert_id(demo.issuer, serial), one)))


def test_serial_numbers_never_issued(demo: Demo, ask: Ask) -> None:
    """O-25: zero, negative, huge, look-alike and random ones are `unauthorized`, with a nonce too."""
    serial = demo.good_cert.serial_number
    size = (serial.bit_length() + 7) // 8
    numbers = [
        serial + 1,
        serial - 1,
        serial << 8,
        serial >> 8,
        serial | 1 << 8 * size,
        int.from_bytes(secrets.token_bytes(16)),
    ]
    octets = [b"\0", b"\xff", b"\x80" + b"\0" * 19, b"\x01" * 20, b"\x01" * 21, b"\x01" * 100]
    serials: list[int | bytes] = [*numbers, *octets]
    for one in serials:
        asked = odd.cert_id(demo.issuer, one)
        said = ask(odd.request(asked))
        assert said[2] in (wanted.UNAUTHORIZED, wanted.MALFORMED), one
        assert said[1]["cache-control"] == "no-store"
        assert ask(odd.request(asked, extensions=[odd.nonce(b"n" * 16)]))[2] == said[2]


@pytest.mark.parametrize(
    "wrong", ["empty list", "version 2", "trailing", "two", "cut", "padded serial", "long length", "indefinite"]
)
def test_what_is_not_der(demo: Demo, ask: Ask, wrong: str) -> None:
    """O-1, O-2, O-4, O-5: malformedRequest with 400, five bytes."""
    der, asked = demo.good, odd.cert_id(demo.issuer, demo.good_cert.serial_number)
    octets = {
        "empty list": odd.request(),
        "version 2": odd.der(
            0x30,
            odd.der(
                0x30,
                odd.der(0xA0, odd.der(2, b"\1")),
                odd.der(0x30, odd.der(0x30, asked)),
            ),
        ),
        "trailing": der + b"\0",
        "two": der + der,
        "cut": der[:-1],
        "padded serial": odd.request(odd.cert_id(demo.issuer, b"\0\0" + b"\1" * 16)),
        "long length": b"\x30\x82\x00" + der[1:] if der[1] < 128 else b"\x30\x83\x00\x00" + der[2:],
        "indefinite": b"\x30\x80" + der[2:] + b"\0\0",
    }[wrong]
    assert_refused(ask(octets), wanted.MALFORMED, 400)


@pytest.mark.parametrize("slashes", ["//", "///"])
def test_slashes_in_front_of_a_path_are_one(instance: Instance, demo: Demo, slashes: str) -> None:
    """Clients append a path to a URL that ends with a slash; answers, CRLs and certificates are found all the same."""
    encoded = base64.b64encode(demo.good).decode()
    for octets in (
        post_octets(demo.good, f"{slashes}ocsp"),
        post_octets(demo.good, f"{slashes}.well-known/pki/ocsp/demo"),
        get_octets(f"{slashes}ocsp/{encoded}"),
        get_octets(f"{slashes}.well-known/pki/ocsp/demo/{encoded}"),
    ):
        with Talk(instance.port) as talk:
            status, _, body = talk.ask(octets)
        assert (status, status_in(body, demo.good_cert.serial_number)) == (200, GOOD), octets[:40]
    for name in ("crl", "issuer"):
        with Talk(instance.port) as talk:
            assert talk.ask(get_octets(f"{slashes}.well-known/pki/{name}/demo"))[0] == 200, name


def test_nonces_of_a_forbidden_length_are_counted(instance: Instance, demo: Demo) -> None:
    """On every way, and by the name that operators alert on; responders and CAs have an end there too."""
    before = metrics(instance)
    der = question(demo.good_cert, demo.issuer, nonce=b"n" * 33)
    for octets in (post_octets(der), chunked_octets(der)):
        with Talk(instance.port) as talk:
            assert_refused(talk.ask(octets))
    after = metrics(instance)
    assert after["nonce_malformed"] == before["nonce_malformed"] + 2
    assert after["ocsp_counter:nonce_malformed"] == after["nonce_malformed"]
    assert after["ocsp_counter:nonce_echoed"] == after["answers:nonce"]
    assert time.time() < after["responder_not_after_seconds:demo"] < after["issuer_not_after_seconds:demo"]
