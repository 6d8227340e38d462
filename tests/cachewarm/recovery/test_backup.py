"""What is in an archive and what is not, files that are whole or not there, and folders of archives."""

import dataclasses
import errno
import os
from pathlib import Path
from typing import IO, Any

import pytest

from cachewarm.errors import Refused
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger.connect import Connection
from cachewarm.recovery import retention
from cachewarm.recovery.backup import BackupPlan, create_backup, new_archive, summary
from cachewarm.recovery.sealing import Sealer
from cachewarm.recovery.verify import Demand, verify_file
from tests.cachewarm.recovery.conftest import MakeArchive


async def test_the_manifest_says_what_is_in_and_what_is_not(
    owner: Connection, plan: BackupPlan, tmp_path: Path
) -> None:
    """Counts, positions, key files, and keys that only a token has."""
    manifest = await create_backup(owner, tmp_path / "a.backup", plan)
    fields = verify_file(tmp_path / "a.backup", Demand(key=plan.key.public)).manifest.fields
    assert fields == manifest.fields
    short = summary(manifest)
    assert (short["certificates"], short["revocations"], short["seq"], short["keys"]) == (20, 3, 1, 1)
    assert fields["crl_numbers"] == {"ca": "7"}
    assert fields["edges"].keys() == {"edge-1"}
    assert [row["form"] for row in fields["keys"]] == ["sealed"]
    assert fields["not_included"][0].startswith("CA key of hsm: it is in a token only")
    assert (tmp_path / "a.backup").stat().st_mode & 0o777 == 0o600


async def test_a_bare_key_is_refused_unless_it_is_allowed_or_sealed(
    owner: Connection, plan: BackupPlan, tmp_path: Path
) -> None:
    """Otherwise the archive would be as secret as the key."""
    from pyrage import x25519

    SoftKey.generate(KeyKind.P256).store(plan.settings.keys / "bare.key", None)
    with pytest.raises(Refused, match=r"bare\.key is not encrypted"):
        await create_backup(owner, tmp_path / "a.backup", plan)
    assert not list(tmp_path.glob("*a.backup*"))
    sealer = Sealer([str(x25519.Identity.generate().to_public())])
    for number, allowed in enumerate(
        (dataclasses.replace(plan, allow_plain_keys=True), dataclasses.replace(plan, sealer=sealer))
    ):
        await create_backup(owner, tmp_path / f"{number}.backup", allowed)
    assert b"PRIVATE" not in (tmp_path / "1.backup").read_bytes()


def test_an_archive_is_whole_or_not_there(tmp_path: Path) -> None:
    """An error, a full disk and a file of that name leave nothing; what a killed process left is removed."""
    path = tmp_path / "a.backup"
    abandoned = tmp_path / ".b.backup.1.fastocsp-partial"
    abandoned.touch()
    os.utime(abandoned, (0, 0))
    for error in (KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))):
        with pytest.raises((KeyboardInterrupt, Refused)) as raised, new_archive(path) as file:
            _write_and_fail(file, error)
    assert str(raised.value) == f"{path} was not written: No space left on device"
    assert list(tmp_path.iterdir()) == []
    with new_archive(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    with pytest.raises(Refused, match="exists already"), new_archive(path):
        pass
    assert [each.name for each in tmp_path.iterdir()] == ["a.backup"]


def _write_and_fail(file: IO[bytes], error: BaseException) -> None:
    file.write(b"half")
    raise error


def test_retention_counts_what_verifies_by_its_signed_date(
    make_archive: MakeArchive, maker_key: str, tmp_path: Path
) -> None:
    """Neither the time of a file nor its name decides; a damaged archive is neither counted nor removed."""
    folder = tmp_path / "backups"
    folder.mkdir()

    def put(name: str, day: int) -> Path:
        return make_archive(f"backups/{name}.backup", created=f"2026-01-{day:02}T00:00:00Z")

    oldest, middle, newest, broken = put("z", 1), put("b", 2), put("a", 3), put("c", 9)
    broken.write_bytes(broken.read_bytes()[:-600])
    os.utime(oldest, (4e9, 4e9))
    listed = retention.archives_in(folder, maker_key)
    assert [each.path for each in listed] == [newest, middle, oldest, broken]
    kept = retention.keep_newest(folder, 2, maker_key)
    assert kept.removed == [oldest]
    assert "cut" in kept.problems[0]
    assert {*folder.iterdir()} == {middle, newest, broken}


def test_a_key_is_never_written_outside_of_the_key_folder(make_archive: MakeArchive, tmp_path: Path) -> None:
    """Not even if the signed manifest asks for it."""
    from cachewarm.recovery.restore import Source, restore_keys

    for place in ("../escaped", "/etc/escaped", "a/../../escaped", ""):
        row: dict[str, Any] = {"member": "keys/000001", "path": "/x", "place": place, "form": "sealed"}
        path = make_archive(keys=[row])
        with path.open("rb") as file:
            source = Source(file=file, name="x", manifest=verify_file(path, Demand()).manifest)
            with pytest.raises(Refused, match="outside of"):
                restore_keys(source, tmp_path / "keys", replace=False)
