"""Secrets from files and from the service manager's credentials."""

from pathlib import Path

import pytest

from cachewarm.config import Settings
from responder.config import load_settings
from responder.setting_fields import ConfigError

SECRET = "a passphrase of more than thirty-two bytes"


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No instance, no secret in the environment."""
    monkeypatch.setenv("FASTOCSP_DATA_DIR", str(tmp_path / "data"))


def test_setting_comes_from_the_file_that_its_name_with_file_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One newline at the end is not part of it; the API keys may come that way too."""
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "keys").write_text("boss:0123456789abcdef0123456789abcdef:admin\n")
    monkeypatch.setenv("FASTOCSP_CONFIG_ENCRYPTION_KEY_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("FASTOCSP_API_KEYS_NAMED_FILE", str(tmp_path / "keys"))
    settings = load_settings(Settings)
    assert settings.passphrase == SECRET.encode()
    assert list(settings.api_keys_named.values()) == [("boss", True)]


def test_setting_comes_from_a_credential_of_the_service_manager(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The setting itself comes first."""
    (tmp_path / "fastocsp.config_encryption_key").write_text(SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_settings(Settings).passphrase == SECRET.encode()
    monkeypatch.setenv("FASTOCSP_CONFIG_ENCRYPTION_KEY", SECRET[::-1])
    assert load_settings(Settings).passphrase == SECRET[::-1].encode()


def test_every_problem_with_a_file_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Missing, empty, binary, far too long, named beside the setting itself; no setting but a secret has one."""
    for name, octets in (("empty", b"\n"), ("binary", b"\xff\xfe"), ("long", b"x" * 70000)):
        (tmp_path / name).write_bytes(octets)
    for name, sentence in (
        ("none", "none cannot be read: No such file or directory"),
        ("empty", "empty is empty"),
        ("binary", "binary is not UTF-8 text"),
        ("long", "long has more than 65536 bytes"),
    ):
        monkeypatch.setenv("FASTOCSP_REDIS_URL_FILE", str(tmp_path / name))
        with pytest.raises(ConfigError, match=f"FASTOCSP_REDIS_URL_FILE: .*{sentence}"):
            load_settings(Settings)
    monkeypatch.setenv("FASTOCSP_REDIS_URL", "redis://127.0.0.1")
    with pytest.raises(ConfigError, match="FASTOCSP_REDIS_URL and FASTOCSP_REDIS_URL_FILE are both set"):
        load_settings(Settings)
    monkeypatch.delenv("FASTOCSP_REDIS_URL_FILE")
    monkeypatch.setenv("FASTOCSP_PORT_FILE", str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="FASTOCSP_PORT_FILE: no such setting"):
        load_settings(Settings)
