"""Archives that are cut, changed, foreign, of another version, or none at all: one sentence each."""

import random
from pathlib import Path

import pytest

from cachewarm.errors import Refused
from cachewarm.recovery import archive
from cachewarm.recovery.backup_key import BackupKey, known_key, parse_key
from cachewarm.recovery.copy_rows import RowCounter
from cachewarm.recovery.sealing import Opener, Sealer
from cachewarm.recovery.verify import Demand, contents, verify_file
from tests.cachewarm.recovery.conftest import MakeArchive, table_of
from tests.support.sampling import commit_seed


def refusal(path: Path, demand: Demand | None = None) -> str:
    """Why the archive is refused: one sentence that names it."""
    with pytest.raises(Refused) as refused:
        verify_file(path, demand or Demand())
    text = str(refused.value)
    assert "\n" not in text
    assert path.name in text
    return text


def test_a_whole_archive_verifies_and_is_a_tar_file(make_archive: MakeArchive, maker_key: str) -> None:
    """Its manifest is read, its rows are counted, and its key is the maker's."""
    verified = verify_file(make_archive(), Demand(key=maker_key))
    assert verified.counted
    assert verified.manifest.signed_by == maker_key
    assert verified.manifest.fields["created"] == "2026-01-02T03:04:05Z"


def test_an_archive_cut_anywhere_is_refused(make_archive: MakeArchive) -> None:
    """At every block, beside each, and one byte before the end."""
    path = make_archive()
    whole = path.read_bytes()
    edges = {at + beside for at in range(512, len(whole), 512) for beside in (-1, 0, 1)}
    for size in sorted(edges | {1, 100, len(whole) - 1} - {len(whole)}):
        path.write_bytes(whole[:size])
        text = refusal(path)
        assert "cut" in text or "not a fastocsp backup" in text, (size, text)


def test_an_archive_with_a_flipped_bit_anywhere_is_refused(make_archive: MakeArchive) -> None:
    """Headers, contents, padding, manifest, signature and end: no byte may differ."""
    path = make_archive()
    whole = path.read_bytes()
    seeded = random.Random(commit_seed())
    chosen = {at: 1 << seeded.randrange(8) for at in seeded.sample(range(len(whole)), 150)}
    signed = whole.rindex(b'{\n "key"')
    chosen |= dict.fromkeys(range(signed, whole.rindex(b"}") + 1), 32)  # the other case of a letter
    for at, bit in chosen.items():
        changed = bytearray(whole)
        changed[at] ^= bit
        path.write_bytes(changed)
        refusal(path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b"-- PostgreSQL database dump\n" * 100, "is not a fastocsp backup"),
        (b"\0" * 10240, "is not a fastocsp backup"),
        (b"age-encryption.org/v1\n", "is not a fastocsp backup"),
    ],
    ids=["empty", "sql", "zeros", "age"],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, text: str) -> None:
    """What is no archive is named as that."""
    path = tmp_path / "other"
    path.write_bytes(content)
    assert text in refusal(path)


@pytest.mark.parametrize(
    ("order", "text"),
    [("head table", "keys/000001 is missing"), ("head key key table", "twice"), ("head table key", "changed places")],
)
def test_members_that_were_moved_removed_or_repeated_are_refused(
    make_archive: MakeArchive, order: str, text: str
) -> None:
    """Each of them is whole and listed, but not in its place. A member of the example has two blocks."""
    path = make_archive()
    whole = path.read_bytes()
    parts = {name: whole[1024 * at : 1024 * (at + 1)] for at, name in enumerate(("head", "key", "table"))}
    path.write_bytes(b"".join(parts[name] for name in order.split()) + whole[3072:])
    assert text in refusal(path)


def test_bytes_after_the_end_are_refused(make_archive: MakeArchive) -> None:
    """Something was appended."""
    path = make_archive()
    path.write_bytes(path.read_bytes() + b"more")
    assert "damaged" in refusal(path)


def test_an_archive_of_another_key_is_refused(make_archive: MakeArchive, tmp_path: Path) -> None:
    """Both keys are named."""
    other = BackupKey.of(tmp_path / "other", None).public
    assert other in refusal(make_archive(), Demand(key=other))


def test_a_manifest_signed_again_by_somebody_else_is_refused(
    make_archive: MakeArchive, maker_key: str, tmp_path: Path
) -> None:
    """A changed archive with a valid signature of another key does not pass for ours."""
    path = make_archive()
    forger = BackupKey.of(tmp_path / "forger", None)
    with path.open("wb") as file:
        writer = archive.ArchiveWriter(file, "x", product="fastocsp 0.2", created="2026-01-02T03:04:05Z")
        writer.add("keys/000001", b"another key")
        writer.finish({}, forger)
    assert "another installation" in refusal(path, Demand(key=maker_key, count=False))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"schema": 999}, "this fastocsp knows"),
        ({"tables": [{"name": "issuers"}]}, "lacks a readable form"),
        ({"created": "yesterday"}, "lacks a readable form"),
        ({"logins": None}, "lacks logins"),
        ({"migrations": {"0001_registry": "00"}}, "migration 0001_registry differs"),
        ({"tables": [{"name": "issuers", "columns": [], "rows": 3, "bytes": 0}]}, "2 rows of issuers"),
        ({"tables": [{"name": "certificates", "columns": [], "rows": 1, "bytes": 0}]}, "0 rows of certificates"),
    ],
    ids=["newer schema", "no columns", "no date", "no logins", "another build", "too few rows", "missing table"],
)
def test_an_archive_that_does_not_fit_this_version_is_refused(
    make_archive: MakeArchive, changes: dict[str, object], text: str
) -> None:
    """The signature holds, but the archive cannot be restored here."""
    assert text in refusal(make_archive(**changes))


def test_an_archive_of_a_newer_format_is_refused(make_archive: MakeArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says to upgrade."""
    monkeypatch.setattr(archive, "FORMAT", 2)
    path = make_archive()
    monkeypatch.setattr(archive, "FORMAT", 1)
    assert "has format 2" in refusal(path)


def test_a_sealed_archive_verifies_without_an_identity_and_is_counted_with_one(
    make_archive: MakeArchive, tmp_path: Path
) -> None:
    """Hashes and signature are over what is stored; the wrong identity is named."""
    from pyrage import x25519

    ours, other = x25519.Identity.generate(), x25519.Identity.generate()
    path = make_archive(sealer=Sealer([str(ours.to_public())]))
    assert b"a key" not in path.read_bytes()
    assert not verify_file(path, Demand()).counted
    for name, identity in (("ours", ours), ("other", other)):
        (tmp_path / name).write_text(f"# created: today\n{identity}\n")
    assert verify_file(path, Demand(opener=Opener(tmp_path / "ours"))).counted
    assert "other does not open" in refusal(path, Demand(opener=Opener(tmp_path / "other")))


def test_a_wrong_recipient_or_identity_is_refused(tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(Refused, match="no age recipient"):
        Sealer(["age1wrong"])
    (tmp_path / "identity").write_text("wrong\n")
    with pytest.raises(Refused, match="no age identity"):
        Opener(tmp_path / "identity")


def test_an_archive_that_changes_after_it_was_verified_is_refused(make_archive: MakeArchive) -> None:
    """Its members are compared with the manifest again while they are read."""
    path = make_archive()
    manifest = verify_file(path, Demand()).manifest
    with path.open("r+b") as file:
        assert len(list(contents(file, "x", manifest, None))) == 2
        file.seek(1024 + 512 + 4)
        file.write(b"\0")
        file.seek(0)
        with pytest.raises(Refused, match="was changed while it was read"):
            list(contents(file, "x", manifest, None))


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_rows_are_counted_however_a_table_is_cut(step: int) -> None:
    """NULLs, empty and long values, rows without columns; pieces of any size."""
    text = table_of((b"a", None), (b"", b"x" * 50), (), (None,))
    counter = RowCounter("t")
    for at in range(0, len(text), step):
        assert not counter.complete
        counter.feed(text[at : at + step])
    assert (counter.rows, counter.complete) == (4, True)


@pytest.mark.parametrize("text", [b"id,name\n1,x\n2,y\n3,z\n", table_of((b"a",)) + b"\0"], ids=["csv", "trailing"])
def test_rows_of_another_format_are_refused(text: bytes) -> None:
    """What is not in that format is not counted."""
    with pytest.raises(Refused, match="binary COPY"):
        RowCounter("t").feed(text)


def test_the_backup_key_is_made_once_and_printed_beside(tmp_path: Path) -> None:
    """The private half is 0600; the public half is a file that `--key` takes, as it takes the text."""
    key = BackupKey.of(tmp_path / "site", None)
    assert BackupKey.of(tmp_path / "site", None).public == key.public == known_key(tmp_path / "site")
    assert (tmp_path / "site" / "backup-signing.key").stat().st_mode & 0o777 == 0o600
    assert parse_key(key.public) == parse_key(str(tmp_path / "site" / "backup-signing.pub")) == key.public
    for wrong in ("ed25519:AAAA", "ed25519:!", "nothing", ""):
        with pytest.raises(ValueError, match="ed25519"):
            parse_key(wrong)
