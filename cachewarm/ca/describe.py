"""Describe a certificate for people and for JSON: plain strings, numbers, lists and None."""

import hashlib
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from responder.domain.certificate import key_hash, read_facts
from responder.domain.serial import serial_hex, serial_octets
from responder.domain.signature import key_name


def describe(certificate: x509.Certificate) -> dict[str, Any]:
    """Fields by name, in the order people look for them, of a certificate that `read_certificate` has read."""
    extensions = {type(each.value): each.value for each in certificate.extensions}
    return _names(certificate) | _roles(extensions) | _pointers(extensions) | _digests(certificate, extensions)


def _names(certificate: x509.Certificate) -> dict[str, Any]:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": _serial(certificate.serial_number),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "key": key_name(certificate.public_key()),
        "signature_algorithm": _oid_name(certificate.signature_algorithm_oid),
    }


def _roles(extensions: dict[type, Any]) -> dict[str, Any]:
    constraints = extensions.get(x509.BasicConstraints)
    alternatives = extensions.get(x509.SubjectAlternativeName, ())
    features = extensions.get(x509.TLSFeature, ())
    return {
        "ca": bool(constraints and constraints.ca),
        "path_length": constraints.path_length if constraints else None,
        "key_usage": _key_usage(extensions.get(x509.KeyUsage)),
        "extended_key_usage": [_oid_name(oid) for oid in extensions.get(x509.ExtendedKeyUsage, ())],
        "names": [str(getattr(name, "value", name)) for name in alternatives],
        "must_staple": x509.TLSFeatureType.status_request in features,
        "ocsp_nocheck": x509.OCSPNoCheck in extensions,
    }


def _pointers(extensions: dict[type, Any]) -> dict[str, Any]:
    access = extensions.get(x509.AuthorityInformationAccess, ())
    points = extensions.get(x509.CRLDistributionPoints, ())
    return {
        "ocsp_url": [d.access_location.value for d in access if d.access_method == AuthorityInformationAccessOID.OCSP],
        "ca_issuers_url": [
            d.access_location.value for d in access if d.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        ],
        "crl_url": [str(getattr(name, "value", name)) for point in points for name in point.full_name or ()],
    }


def _digests(certificate: x509.Certificate, extensions: dict[type, Any]) -> dict[str, Any]:
    subject_key = extensions.get(x509.SubjectKeyIdentifier)
    authority_key = extensions.get(x509.AuthorityKeyIdentifier)
    cert_der = certificate.public_bytes(Encoding.DER)
    facts = read_facts(cert_der)
    return {
        "subject_key_identifier": subject_key.digest.hex() if subject_key else None,
        "authority_key_identifier": (authority_key.key_identifier or b"").hex() or None if authority_key else None,
        "issuer_name_hash_sha1": hashlib.sha1(facts.subject_der, usedforsecurity=False).hexdigest(),
        "issuer_key_hash_sha1": key_hash(facts.key_bits).hex(),
        "sha256": hashlib.sha256(cert_der).hexdigest(),
    }


def _serial(number: int) -> str:
    """The one printed form where RFC 5280 allows the number, else what it is."""
    try:
        return serial_hex(serial_octets(number))
    except ValueError:
        return f"{number:#x}"


def _key_usage(usage: x509.KeyUsage | None) -> list[str]:
    if usage is None:
        return []
    bits = {
        "digitalSignature": usage.digital_signature,
        "nonRepudiation": usage.content_commitment,
        "keyEncipherment": usage.key_encipherment,
        "dataEncipherment": usage.data_encipherment,
        "keyAgreement": usage.key_agreement,
        "keyCertSign": usage.key_cert_sign,
        "cRLSign": usage.crl_sign,
    }
    return [name for name, is_set in bits.items() if is_set]


def _oid_name(oid: x509.ObjectIdentifier) -> str:
    name = oid._name  # the only way to the name that cryptography prints
    return oid.dotted_string if name == "Unknown OID" else name
