"""`fastocsp keys`: every form of a key file becomes today's, and comes out again for other programs."""

import contextlib
import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from cachewarm.errors import Refused
from cachewarm.keys import rewrap as module
from cachewarm.keys.key_file import write_atomically
from cachewarm.keys.rewrap import Form, Outcome, form_of, key_files, rewrap
from cachewarm.keys.soft_key import KeyKind, SoftKey
from tests.support import warm_command
from tests.support.judges import openssl

NOW, BEFORE = b"the passphrase of today, long enough", b"the passphrase before, long enough"


@pytest.fixture
def folder(tmp_path: Path) -> dict[str, SoftKey]:
    """One key file of every form, under today's passphrase and the one before; the keys by file name."""
    made = {f"{name}.key": SoftKey.generate(KeyKind.P256) for name in ("now", "old", "pem", "plain", "theirs")}
    made["now.key"].store(tmp_path / "now.key", NOW)
    made["old.key"].store(tmp_path / "old.key", BEFORE)
    write_atomically(tmp_path / "pem.key", made["pem.key"].to_pem(NOW))
    made["plain.key"].store(tmp_path / "plain.key")
    openssl_form = made["theirs.key"]._private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(BEFORE),
    )
    write_atomically(tmp_path / "theirs.key", openssl_form)
    return made


def test_every_form_is_sealed_under_the_passphrase_of_today(tmp_path: Path, folder: dict[str, SoftKey]) -> None:
    """A dry run writes nothing; the second run finds everything as it should be."""
    before = {path: path.read_bytes() for path in key_files(tmp_path)}
    wanted = [Outcome.CURRENT] + [Outcome.SEALED] * 4
    assert [each.outcome for each in rewrap(before, NOW, BEFORE, dry_run=True)] == wanted
    assert {path: path.read_bytes() for path in key_files(tmp_path)} == before
    assert [each.outcome for each in rewrap(before, NOW, BEFORE, dry_run=False)] == wanted
    for name, key in folder.items():
        assert form_of(tmp_path / name) is Form.SEALED
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        assert SoftKey.load(tmp_path / name, NOW).public_key == key.public_key
    assert {each.outcome for each in rewrap(before, NOW, None, dry_run=False)} == {Outcome.CURRENT}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(folder)


def test_file_that_cannot_be_opened_stays_and_stops_no_other(tmp_path: Path, folder: dict[str, SoftKey]) -> None:
    """Without the passphrase before, two of them."""
    texts = {name: (tmp_path / name).read_bytes() for name in folder}
    done = {each.path.name: each for each in rewrap(key_files(tmp_path), NOW, None, dry_run=False)}
    for name in ("old.key", "theirs.key"):
        assert done[name].outcome is Outcome.FAILED
        assert name in done[name].problem
        assert (tmp_path / name).read_bytes() == texts[name]
    assert {done[name].outcome for name in ("pem.key", "plain.key")} == {Outcome.SEALED}


def test_stopped_anywhere_and_run_again(
    tmp_path: Path, folder: dict[str, SoftKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each number of files a kill; every key opens at any time, and the last run finishes the work."""
    for most in range(5):
        left = iter(range(most))

        def dying(path: Path, octets: bytes, *, owner: tuple[int, int], left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            write_atomically(path, octets, owner=owner)

        monkeypatch.setattr(module, "write_atomically", dying)
        with contextlib.suppress(KeyboardInterrupt):
            rewrap(key_files(tmp_path), NOW, BEFORE, dry_run=False)
        for name, key in folder.items():
            opened = next(filter(None, (_opened(tmp_path / name, passphrase) for passphrase in (NOW, BEFORE))))
            assert opened.public_key == key.public_key
    assert {each.outcome for each in rewrap(key_files(tmp_path), NOW, BEFORE, dry_run=False)} == {Outcome.CURRENT}


def _opened(path: Path, passphrase: bytes) -> SoftKey | None:
    try:
        return SoftKey.load(path, passphrase)
    except Refused:
        return None


def command(tmp_path: Path, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """`fastocsp keys` with that key folder."""
    settings = {"FASTOCSP_OCSP_RESPONDER_KEY_DIR": str(tmp_path), **environ}
    return warm_command.run(["keys", *words], env=settings, cwd="/", timeout_s=120)


def test_command_rewraps_lists_and_exports(tmp_path: Path, folder: dict[str, SoftKey]) -> None:
    """Passphrases come from files; openssl opens the export, and nothing is overwritten."""
    beside = tmp_path / "secrets"
    beside.mkdir()
    for name, text in (("now", NOW), ("before", BEFORE), ("out", b"for somebody else")):
        (beside / name).write_bytes(text + b"\n")
    environ = {"FASTOCSP_CONFIG_ENCRYPTION_KEY_FILE": str(beside / "now")}
    failed = command(tmp_path, "rewrap", **environ)
    assert failed.returncode == 1
    assert "2 of 5 key files" in failed.stderr
    done = command(tmp_path, "rewrap", "--old-passphrase-file", str(beside / "before"), "--json", **environ)
    assert done.returncode == 0, done.stderr
    assert [row["result"] for row in json.loads(done.stdout)["keys"]].count("sealed") == 2
    listed = command(tmp_path, "list", "--json", **environ)
    assert {row["form"] for row in json.loads(listed.stdout)["keys"]} == {"sealed"}
    out = beside / "theirs.pem"
    words = ("export", str(tmp_path / "now.key"), "--out", str(out), "--passphrase-file", str(beside / "out"))
    assert command(tmp_path, *words, **environ).returncode == 0
    openssl("pkey", "-in", out, "-passin", "pass:for somebody else", "-noout", "-check")
    again = command(tmp_path, *words, **environ)
    assert again.returncode == 1
    assert "exists already" in again.stderr
    unset = command(tmp_path, "rewrap")
    assert unset.returncode == 1
    assert "FASTOCSP_CONFIG_ENCRYPTION_KEY_FILE" in unset.stderr
