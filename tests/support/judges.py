"""Outsiders who judge what we sign: pkilint, openssl, GnuTLS.

pkilint's containers change the lists they are given, so each call builds fresh ones.
"""

import shutil
import subprocess
from pathlib import Path

from pkilint import finding_filter, loader, pkix, validation
from pkilint.cabf import cabf_crl, serverauth
from pkilint.cabf.serverauth.serverauth_constants import CertificateType
from pkilint.pkix import certificate, crl, extension, name, ocsp

SEVERITY = validation.ValidationFindingSeverity.WARNING


def lint_certificate(cert_der: bytes) -> list[str]:
    """Findings of pkilint's RFC 5280 profile at WARNING or above."""
    container = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
    document = loader.RFC5280CertificateDocumentLoader().load_der_document(cert_der, "certificate")
    return _findings(container.validate(document.root))


def lint_br_responder(cert_der: bytes) -> list[str]:
    """Findings of the TLS Baseline Requirements for OCSP responder certificates."""
    kind = CertificateType.OCSP_RESPONDER
    container = certificate.create_pkix_certificate_validator_container(
        serverauth.create_decoding_validators(), serverauth.create_validators(kind)
    )
    document = loader.RFC5280CertificateDocumentLoader().load_der_document(cert_der, "certificate")
    found = container.validate(document.root)
    kept, _ = finding_filter.filter_results(serverauth.create_serverauth_finding_filters(kind), found)
    return _findings(kept)


def lint_crl(crl_der: bytes, *, br: bool = False) -> list[str]:
    """Findings of the RFC 5280 profile for CRLs, with `br` those of the Baseline Requirements too."""
    kind = crl.CertificateRevocationListType.CRL
    validity = [cabf_crl.create_validity_period_validator(kind)] if br else []
    further = [cabf_crl.CabfCrlReasonCodeAllowlistValidator(kind)] if br else []
    container = crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container(validity),
            crl.create_extensions_validator_container([]),
            *further,
        ],
    )
    document = loader.RFC5280CertificateListDocumentLoader().load_der_document(crl_der, "crl")
    return _findings(container.validate(document.root))


def lint_ocsp_response(response_der: bytes) -> list[str]:
    """Findings of the RFC 6960 profile for responses."""
    container = ocsp.create_pkix_ocsp_response_validator_container(
        [
            ocsp.create_response_decoder(),
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [],
    )
    document = loader.RFC6960OCSPResponseDocumentLoader().load_der_document(response_der, "response")
    return _findings(container.validate(document.root))


def openssl(*arguments: str | Path, stdin: bytes | None = None, cwd: Path | None = None) -> str:
    """Standard output and error of an openssl command that succeeds."""
    ran = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, cwd=cwd, check=False)
    said = (ran.stdout + ran.stderr).decode()
    assert ran.returncode == 0, said
    return said


def certtool(*arguments: str | Path, stdin: bytes | None = None) -> str:
    """The same for GnuTLS; gnutls-bin is among the packages that the tests need."""
    assert shutil.which("certtool"), "install gnutls-bin"
    ran = subprocess.run(["certtool", *map(str, arguments)], input=stdin, capture_output=True, check=False)
    said = (ran.stdout + ran.stderr).decode()
    assert ran.returncode == 0, said
    return said


def _findings(results: list[validation.ValidationResult]) -> list[str]:
    return [
        f"{found.finding.severity.name} {found.finding.code} {found.message or ''}"
        for result in results
        for found in result.finding_descriptions
        if found.finding.severity <= SEVERITY  # FATAL is 0
    ]
