"""Delta CRL and shards from the commands to the public listener: made, announced to the edge, and judged by openssl."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.http import Talk, get_octets
from tests.support.instance import Instance
from tests.support.judges import openssl

ROOT = "/.well-known/pki/crl/split"


@pytest.fixture
def split(own_folder: Path) -> Iterator[Instance]:
    """An instance with a CA of three shards and deltas, one certificate issued by it and revoked."""
    running = Instance(own_folder / "data", 1, 5, 1).start()
    try:
        yield running
    finally:
        running.stop()


def crl_at(instance: Instance, path: str) -> x509.CertificateRevocationList | None:
    """The CRL served there."""
    with Talk(instance.port) as talk:
        status, _, body = talk.ask(get_octets(path))
    return x509.load_der_x509_crl(body) if status == 200 else None


def eventually(instance: Instance, path: str, serial: int) -> x509.CertificateRevocationList:
    """The CRL served there once it lists that serial number."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        crl = crl_at(instance, path)
        if crl is not None and crl.get_revoked_certificate_by_serial_number(serial) is not None:
            return crl
        time.sleep(0.1)
    raise AssertionError(f"{path} never lists {serial:x}")


def test_a_revocation_reaches_the_shard_and_the_delta_of_its_certificate(split: Instance, tmp_path: Path) -> None:
    """The URL in the certificate serves the CRL that openssl refuses it by; complete and delta CRL say the same."""
    options = ("--id", "split", "--subject", "CN=Split CA", "--crl-shards", "3", "--delta-crl", "--json")
    made = json.loads(split.command("ca", "init", *options).stdout)
    assert (made["crl_shards"], made["delta_crl"], made["crl_scope"]) == (3, True, "all")
    names = ("--name", "leaf.example.com", "--out", str(tmp_path))
    said = json.loads(split.command("ca", "issue", "split", *names, "--json").stdout)
    [url] = said["crl_url"]
    serial = int(said["serial"].replace(":", ""), 16)
    deadline = time.monotonic() + 30
    while crl_at(split, f"{ROOT}/delta") is None and time.monotonic() < deadline:
        time.sleep(0.1)
    split.command("revoke", "--issuer", "split", "--serial", said["serial"], "--reason", "superseded")
    shard = eventually(split, url.removeprefix(split.base), serial)
    complete, delta = eventually(split, ROOT, serial), eventually(split, f"{ROOT}/delta", serial)
    assert delta.extensions.get_extension_for_class(x509.DeltaCRLIndicator).critical
    [fresh] = complete.extensions.get_extension_for_class(x509.FreshestCRL).value
    assert [name.value for name in fresh.full_name or []] == [f"{split.base}{ROOT}/delta"]
    assert crl_at(split, f"{ROOT}/3") is None
    (tmp_path / "ca.pem").write_text(split.command("ca", "show", "split", "--pem").stdout)
    (tmp_path / "shard.pem").write_bytes(shard.public_bytes(Encoding.PEM))
    with pytest.raises(AssertionError, match="certificate revoked"):
        openssl(
            "verify", "-crl_check", "-extended_crl", "-CAfile", tmp_path / "ca.pem", "-CRLfile", tmp_path / "shard.pem",
            tmp_path / "leaf.example.com.pem",
        )  # fmt: skip
    metrics = split.metrics()
    assert 'fastocsp_crl_next_update_seconds{issuer_id="split",part="delta"}' in metrics
    assert 'fastocsp_crl_builds_failed{issuer_id="split"} 0' in metrics
    shown = split.command("issuer", "show", "split", "--json")
    assert json.loads(shown.stdout)["crl_shards"] == 3
