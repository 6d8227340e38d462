"""The private listener: TLS 1.3, keys, and the three words of a revocation."""

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

import pytest
from cryptography.x509 import ocsp

from tests.e2e.test_revoking import spare, status_of
from tests.support.fixtures import READER_KEY
from tests.support.instance import Instance


def call(
    instance: Instance, path: str, *, key: str | None = None, body: dict[str, Any] | None = None
) -> tuple[int, Any]:
    """(status, JSON) of one request; a body makes it a POST."""
    facts = instance.facts
    octets = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(facts["admin_url"] + path, octets)
    if key is not None:
        request.add_header("Authorization", f"Bearer {key}")
    context = ssl.create_default_context(cafile=facts["admin_ca"])
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_older_tls_is_refused(instance: Instance) -> None:
    """TLS 1.2 gets no connection."""
    context = ssl.create_default_context(cafile=instance.facts["admin_ca"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(urllib.error.URLError, match=r"(?i)ssl|tls"):
        urllib.request.urlopen(instance.facts["admin_url"] + "/health", timeout=10, context=context)


@pytest.mark.parametrize("path", ["/api/v1/issuers", "/api/v1/certificates/demo:01"])
def test_without_a_key_nothing_is_said(instance: Instance, path: str) -> None:
    """401 without a key and with a wrong one; the health checks are open."""
    assert call(instance, path)[0] == 401
    assert call(instance, path, key="x" * 32)[0] == 401
    assert call(instance, "/health") == call(instance, "/livez") == (200, {"status": "ok"})
    assert call(instance, "/readyz") == (200, {"ready": True, "reasons": []})


def test_issuers_are_listed(instance: Instance) -> None:
    """JSON conventions: rows, row_count, generated_at."""
    status, found = call(instance, "/api/v1/issuers", key=instance.facts["api_key"])
    assert status == 200
    assert "demo" in [row["issuer_id"] for row in found["issuers"]]
    assert found["row_count"] == len(found["issuers"])
    assert found["generated_at"]


def test_revoking_waits_for_the_edges(instance: Instance) -> None:
    """?wait=10: CONFIRMED, and the next answer is revoked; the certificate's row says why; a hold is released."""
    path, key = spare(instance), instance.facts["api_key"]
    url = f"/api/v1/certificates/demo:{path.stem}"
    status, said = call(instance, f"{url}/revoke?wait=10", key=key, body={"reason": "certificateHold"})
    assert (status, said["result"], said["reason"]) == (200, "CONFIRMED", "certificateHold")
    assert status_of(instance, path) is ocsp.OCSPCertStatus.REVOKED
    assert call(instance, url, key=key)[1]["status"] == "revoked"
    assert call(instance, f"{url}/unhold?wait=10", key=key, body={})[1]["result"] == "CONFIRMED"
    assert status_of(instance, path) is ocsp.OCSPCertStatus.GOOD


def test_the_crl_cache_is_shown_to_admins(instance: Instance) -> None:
    """Rows, row_count and generated_at; 401 without a key, 403 without the flag."""
    path, key = "/api/v1/admin/crl/cache", instance.facts["api_key"]
    status, found = call(instance, path, key=key)
    assert (status, found["row_count"], bool(found["generated_at"])) == (200, len(found["cache_rows"]), True)
    (row,) = (each for each in found["cache_rows"] if each["issuer_id"] == "demo")
    assert set(row) == {
        "issuer_id",
        "cache_present",
        "crl_number",
        "this_update",
        "next_update",
        "generated_at",
        "generation_duration_ms",
        "revoked_count",
        "is_stale",
        "recent_events",
    }
    assert (row["issuer_id"], row["cache_present"], row["is_stale"]) == ("demo", True, False)
    assert 1 <= len(row["recent_events"]) <= 5
    assert json.loads(instance.command("crl", "list", "--json").stdout)["cache_rows"][0].keys() == row.keys()
    assert call(instance, path)[0] == 401
    assert call(instance, path, key=READER_KEY)[0] == 403


def test_a_bulk_has_one_word_for_all(instance: Instance) -> None:
    """CONFIRMED, and every answer is revoked; what the inventory does not know is named; a repeat changes nothing."""
    chosen, key = [spare(instance) for _ in range(3)], instance.facts["api_key"]
    body = {"issuer_id": "demo", "serial_numbers": [*(path.stem for path in chosen), "5e5e"], "reason": "superseded"}
    for changed in (3, 0):
        status, said = call(instance, "/api/v1/certificates/bulk-revoke?wait=10", key=key, body=body)
        assert (status, said["result"], said["edges"]) == (200, "CONFIRMED", [])
        assert (said["asked"], said["changed"], said["unknown"]) == (4, changed, ["5e5e"])
    assert {status_of(instance, path) for path in chosen} == {ocsp.OCSPCertStatus.REVOKED}
    assert call(instance, "/api/v1/certificates/bulk-revoke", body=body)[0] == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"issuer_id": "demo", "serial_numbers": []}, 400),
        ({"issuer_id": "demo", "serial_numbers": "01"}, 400),
        ({"issuer_id": "demo", "serial_numbers": ["01"], "reason": "because"}, 400),
        ({"issuer_id": "demo", "serial_numbers": ["01", "xx"]}, 409),
        ({"issuer_id": "nobody", "serial_numbers": ["01"]}, 409),
        ({"serial_numbers": ["01"]}, 409),
    ],
)
def test_a_bad_bulk_changes_nothing(instance: Instance, body: dict[str, Any], status: int) -> None:
    """A sentence says what is wrong."""
    got, said = call(instance, "/api/v1/certificates/bulk-revoke", key=instance.facts["api_key"], body=body)
    assert got == status
    assert said["error"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("demo:zz/revoke", {}, 400),
        ("nocolon/revoke", {}, 400),
        ("demo:0123456789/revoke", {}, 409),
        ("demo:01/revoke", {"reason": "because"}, 400),
        ("demo:01/revoke", {"reason": "removeFromCRL"}, 400),
        ("demo:01/revoke?wait=never", {}, 400),
        ("demo:01/revoke", {"invalidity_date": "tomorrow"}, 400),
    ],
)
def test_bad_questions_are_told_what_is_wrong(instance: Instance, path: str, body: dict[str, str], status: int) -> None:
    """A sentence, and nothing changed."""
    got, said = call(instance, f"/api/v1/certificates/{path}", key=instance.facts["api_key"], body=body)
    assert got == status
    assert said["error"]


def test_errors_without_a_route_of_their_own_are_json(instance: Instance) -> None:
    """404, 405 and 413 have the form of all others."""
    key = instance.facts["api_key"]
    for path, body, status in (
        ("/api/v1/nothing", None, 404),
        ("/api/v1/issuers", {}, 405),
        ("/api/v1/certificates/demo:01/revoke", {"reason": "x" * (1 << 20)}, 413),
    ):
        got, said = call(instance, path, key=key, body=body)
        assert (got, list(said)) == (status, ["error"]), path
