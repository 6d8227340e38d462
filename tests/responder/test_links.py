"""Links: local ones are trusted, all others are authenticated or named as insecure."""

import pytest

from responder.config import EdgeSettings, load_settings
from responder.links import is_loopback, link_problems, postgres_problem, redis_problem
from responder.setting_fields import ConfigError

POSTGRES = {
    "postgresql://u:p@/db?host=/run/x&port=5432": True,
    "postgresql://u:p@127.0.0.1:5432/db": True,
    "postgresql://u:p@[::1]/db": True,
    "postgresql://u:p@localhost/db": True,
    "postgresql://u:p@db.example/db": False,
    "postgresql://u:p@db.example/db?sslmode=require": False,
    "postgresql://u:p@10.0.0.5/db?sslmode=prefer": False,
    "postgresql://u:p@127.0.0.1,db.example/db": False,
    "postgresql://u:p@/db?host=/run/x,db.example": False,
    "postgresql://u:p@/db?host=db.example": False,
    "postgresql://u:p@db.example:port/db": False,
}
REDIS = {
    "unix:///run/valkey.sock": True,
    "redis://127.0.0.1:6379/0": True,
    "redis://localhost": True,
    "redis://cache.example:6379": False,
    "rediss://cache.example:6379": False,
    "rediss://cache.example:6379?ssl_ca_certs=/etc/ca.pem": True,
    "rediss://cache.example:6379?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=none": False,
    "rediss://cache.example:6379?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=false": False,
    "redis://a:1,b:2": False,
}


@pytest.mark.parametrize(("url", "is_fine"), POSTGRES.items())
def test_postgres_links(url: str, *, is_fine: bool) -> None:
    """Every host of a URL counts, wherever in the URL it is written."""
    assert (postgres_problem(url) is None) == is_fine


def test_a_verified_postgres_link(tmp_path: object) -> None:
    """`verify-full` with a CA is authenticated; a CA file that is missing is named."""
    import trustme

    ca = f"{tmp_path}/ca.pem"
    trustme.CA().cert_pem.write_to_path(ca)
    assert postgres_problem(f"postgresql://u:p@db.example/db?sslmode=verify-full&sslrootcert={ca}") is None
    assert "verify-ca" not in str(
        postgres_problem(f"postgresql://u:p@db.example/db?sslmode=verify-ca&sslrootcert={ca}")
    )
    assert postgres_problem(f"postgresql://u:p@db.example/db?sslmode=verify-full&sslrootcert={ca}.none") is not None


def test_a_host_from_the_drivers_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver reads PGHOST where the URL has no host, so the rule reads it too."""
    monkeypatch.setenv("PGHOST", "db.example")
    assert "db.example" in str(postgres_problem("postgresql://u:p@/db"))


@pytest.mark.parametrize(("url", "is_fine"), REDIS.items())
def test_redis_links(url: str, *, is_fine: bool) -> None:
    """A certificate that is not verified, or not for this host, authenticates nobody."""
    assert (redis_problem(url) is None) == is_fine


@pytest.mark.parametrize(("host", "is_local"), [("127.8.9.1", True), ("::1", True), ("0.0.0.0", False), ("h", False)])
def test_loopback_is_told_by_the_address(host: str, *, is_local: bool) -> None:
    """A name that merely resolves to loopback today is not loopback."""
    assert is_loopback(host) == is_local


def test_problems_name_the_setting_and_the_fix() -> None:
    """One sentence per link, and none for a store that is named as insecure."""
    urls = ("postgresql://u:secret@db.example/db", "redis://:secret@cache.example")
    first, second = link_problems(*urls, ())
    assert "FASTOCSP_DATABASE_URL" in first
    assert "sslmode=verify-full" in first
    assert "FASTOCSP_REDIS_URL" in second
    assert "rediss://" in second
    assert "secret" not in first + second
    assert list(link_problems(*urls, ("postgres",))) == [second]
    assert list(link_problems(*urls, ("postgres", "redis"))) == []


def test_settings_refuse_an_unauthenticated_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process and command reads its settings in this one way."""
    monkeypatch.setenv("FASTOCSP_DATABASE_URL", "postgresql://u:p@db.example/db")
    with pytest.raises(ConfigError, match="sslmode=verify-full"):
        load_settings(EdgeSettings)
    monkeypatch.setenv("FASTOCSP_INSECURE_LINKS", "postgres")
    assert load_settings(EdgeSettings).insecure_links == ("postgres",)
    monkeypatch.setenv("FASTOCSP_INSECURE_LINKS", "postgers")
    with pytest.raises(ConfigError, match="postgers: write postgres or redis"):
        load_settings(EdgeSettings)
