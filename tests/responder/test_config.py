"""Settings: typed, from one place, every problem at once."""

import json
from pathlib import Path

import pytest

from cachewarm.config import Settings
from responder.config import EdgeSettings, as_environment, load_settings
from responder.setting_fields import ConfigError
from responder.setting_values import parse_duration, parse_size


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, no settings of ours in the environment."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("250ms", 0.25), ("15m", 900), ("24h", 86400), ("7d", 604800), ("12", 12)]
)
def test_durations_are_written_with_their_unit(text: str, seconds: float) -> None:
    """A bare number is seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "octets"), [("16384", 16384), ("16KiB", 16384), ("1M", 1 << 20), ("2gb", 2 << 30)])
def test_sizes_are_written_with_their_unit(text: str, octets: int) -> None:
    """A bare number is bytes."""
    assert parse_size(text) == octets


def test_every_problem_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt name, a bad duration, a bad port and a broken relation: four lines."""
    for name, text in {"HORIZN": "5s", "PORT": "x", "REDIS_TIMEOUT": "soon", "CONFIG_ENCRYPTION_KEY": "short"}.items():
        monkeypatch.setenv(f"FASTOCSP_{name}", text)
    with pytest.raises(ConfigError) as caught:
        load_settings(Settings)
    lines = str(caught.value).splitlines()
    for name in ("HORIZN", "PORT", "REDIS_TIMEOUT", "CONFIG_ENCRYPTION_KEY"):
        assert any(line.startswith(f"FASTOCSP_{name}:") for line in lines), lines
    assert "short" not in str(caught.value)


def test_a_poll_interval_near_the_horizon_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relations between settings are checked as well."""
    monkeypatch.setenv("FASTOCSP_HORIZON", "2s")
    monkeypatch.setenv("FASTOCSP_POLL_INTERVAL", "900ms")
    with pytest.raises(ConfigError, match="POLL_INTERVAL"):
        load_settings(EdgeSettings)


def test_the_command_line_beats_the_environment_beats_the_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source is asked in that order."""
    folder = Path("data").absolute()
    folder.mkdir()
    written = {"settings": {"port": 1, "workers": 2, "horizon": "9", "unheard_of": 1}}
    (folder / "quickstart.json").write_text(json.dumps(written))
    monkeypatch.setenv("FASTOCSP_DATA_DIR", "data")
    monkeypatch.setenv("FASTOCSP_PORT", "3")
    monkeypatch.setenv("FASTOCSP_WORKERS", "4")
    settings = load_settings(EdgeSettings, port=5)
    assert (settings.data_dir, settings.port, settings.workers, settings.horizon) == (folder, 5, 4, 9.0)


def test_a_child_reads_back_what_its_parent_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings survive the way through an environment, secrets and lists included."""
    monkeypatch.setenv("FASTOCSP_TRUSTED_PROXIES", "10.0.0.0/8, ::1")
    monkeypatch.setenv("FASTOCSP_API_KEYS_NAMED", "ops:0123456789abcdef:admin,web:fedcba9876543210")
    monkeypatch.setenv("FASTOCSP_DATABASE_URL", "postgresql://u:p@127.0.0.1/d")
    monkeypatch.setenv("FASTOCSP_INSECURE_LINKS", "redis, postgres")
    parent = load_settings(Settings)
    for name, text in as_environment(parent).items():
        monkeypatch.setenv(name, text)
    child = load_settings(Settings)
    assert child == parent
    assert child.api_keys_named["0123456789abcdef"] == ("ops", True)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repr of the settings has no password and no key."""
    monkeypatch.setenv("FASTOCSP_DATABASE_URL", "postgresql://u:verysecret@127.0.0.1/d")
    monkeypatch.setenv("FASTOCSP_API_KEYS_NAMED", "ops:alsoverysecret12:admin")
    assert "verysecret" not in repr(load_settings(Settings))
