"""`fastocsp backup` and `fastocsp restore` as an operator meets them: what is refused, and why, in one sentence."""

import os
from pathlib import Path

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from tests.cachewarm.cli.conftest import Fastocsp


@pytest.fixture
def owned(root_ca: Fastocsp, database: DatabaseURLs) -> Fastocsp:
    """The command with the owner's login, and a ledger with a CA whose key is not encrypted."""
    return Fastocsp(root_ca.folder, root_ca.environ | {"FASTOCSP_DATABASE_URL": database.owner})


def test_an_archive_is_made_sealed_verified_and_refused_where_a_ledger_is(owned: Fastocsp, tmp_path: Path) -> None:
    """The whole way of a sealed archive, with the identity and without."""
    from pyrage import x25519

    identity = x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"{identity}\n")
    bare = owned("backup", "create", "a.backup")
    assert (bare.status, "root" in bare.err, "--allow-plain-keys" in bare.err) == (1, True, True)
    assert not (tmp_path / "a.backup").exists()
    made = owned("backup", "create", "a.backup", "--recipient", identity.to_public(), "--json")
    assert made.status == 0, made.err
    assert (made.json["sealed"], made.json["keys"]) == (True, 1)
    blind = owned("backup", "verify", "a.backup")
    assert (blind.status, "not counted" in blind.fields["row_counts"]) == (0, True)
    seen = owned("backup", "verify", "a.backup", "--identity", "identity", "--json").json
    assert (seen["row_counts"], seen["key"]) == ("counted", "as expected")
    assert "FASTOCSP_DATABASE_URL" not in seen["settings"]
    assert seen["settings_left_out"] == ["database_url"]
    closed = owned("restore", "a.backup")
    assert (closed.status, "--identity" in closed.err) == (1, True)
    full = owned("restore", "a.backup", "--identity", "identity")
    assert (full.status, "--replace" in full.err) == (1, True)
    again = owned("restore", "a.backup", "--identity", "identity", "--replace", "--above", "77", "--json")
    assert (again.status, again.json["generation"], again.json["keys"]) == (0, 78, ["ca-root.key"])
    assert "next: start the warmers" in again.err
    there = owned("backup", "create", "a.backup", "--allow-plain-keys")
    assert (there.status, "exists already" in there.err) == (1, True)


def test_a_folder_keeps_as_many_archives_as_wanted(owned: Fastocsp, tmp_path: Path) -> None:
    """The list names a damaged one and ends with status 1."""
    for name in ("fastocsp-1", "fastocsp-2"):
        assert owned("backup", "create", f"kept/{name}.backup", "--allow-plain-keys").status == 1, "no such folder"
    (tmp_path / "kept").mkdir()
    for name in ("fastocsp-1", "fastocsp-2"):
        assert owned("backup", "create", f"kept/{name}.backup", "--allow-plain-keys").status == 0
    kept = owned("backup", "create", "--folder", "kept", "--keep", 1, "--allow-plain-keys", "--json")
    assert len(kept.json["removed"]) == 2
    assert owned("backup", "list", "kept", "--json").json["row_count"] == 1
    (tmp_path / "kept" / "x.backup").write_text("something else")
    listed = owned("backup", "list", "kept")
    assert (listed.status, "is not a fastocsp backup" in listed.out) == (1, True)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("backup", "create"), "name the archive"),
        (("backup", "create", "a", "--folder", "b"), "name the archive"),
        (("backup", "create", "a", "--keep", "3"), "--keep needs --folder"),
        (("backup", "verify", "a", "--key", "nonsense"), "--key"),
    ],
)
def test_wrong_options_are_a_usage_error(offline: Fastocsp, words: tuple[str, ...], text: str) -> None:
    """Status 2, and the option is named."""
    ended = offline(*words)
    assert (ended.status, text in ended.err) == (2, True), ended.err


def test_a_login_that_may_not_read_everything_is_told_which_one_may(root_ca: Fastocsp) -> None:
    """The commands' own login cannot back up."""
    ended = root_ca("backup", "create", "a.backup", "--allow-plain-keys")
    assert (ended.status, "fastocsp_backup" in ended.err) == (1, True), ended.err


def test_a_missing_archive_is_one_sentence(offline: Fastocsp) -> None:
    """No trace, no folder made."""
    for words in (("backup", "verify", "none"), ("restore", "none"), ("backup", "list", "none")):
        ended = offline(*words)
        assert (ended.status, len(ended.err.splitlines()), "none" in ended.err) == (1, 1, True), ended.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_data_folder_of_another_user_is_named_with_the_chown(owned: Fastocsp, tmp_path: Path) -> None:
    """Nothing is started and nothing is written."""
    assert owned("backup", "create", "a.backup", "--allow-plain-keys").status == 0
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    ended = owned("restore", "a.backup", "--data-dir", folder)
    assert (ended.status, f"chown -R root {folder}" in ended.err) == (1, True), ended.err
    assert list(folder.iterdir()) == []
