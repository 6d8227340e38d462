"""As root, as a plain user, as nobody at all; folders that cannot be reached; sockets that would be too long."""

import asyncio
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import asyncpg
import pytest

from cachewarm.embedded import folders
from cachewarm.embedded.accounts import Account, postgres_account
from cachewarm.embedded.binaries import PostgresBinaries, find_postgres, reachable
from cachewarm.embedded.folders import abandoned_states, may_enter, run_folder, short_folder
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.process import as_account
from cachewarm.embedded.valkey import EmbeddedValkey
from cachewarm.errors import Refused
from tests.cachewarm.embedded.conftest import as_root, said

WHOLE = """
import asyncio, os
from pathlib import Path
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import provision
from cachewarm.embedded.valkey import EmbeddedValkey
folder = Path({folder!r})
server, cache = EmbeddedPostgres(folder), EmbeddedValkey(folder)
server.start(); cache.start()
asyncio.run(provision(server))
print(os.stat(f"/proc/{{server.pid}}").st_uid, server.state.is_relative_to(folder), server.notice())
cache.stop(); server.stop()
"""


def test_a_plain_user_runs_everything_in_the_data_folder(plain_folder: Path) -> None:
    """Own uid, state under DATA_DIR, nothing to say."""
    uid = plain_folder.stat().st_uid
    if not may_enter(find_postgres().bin, Account("plain", uid, plain_folder.stat().st_gid)):
        pytest.skip("this checkout lies in a folder that a plain user cannot enter")
    assert said(WHOLE.format(folder=str(plain_folder / "data")), uid=uid if os.geteuid() == 0 else None).split() == [
        str(uid),
        "True",
        "None",
    ]


@as_root
def test_a_user_without_an_entry_is_told_so(open_folder: Path) -> None:
    """Initdb would fail with less clear words."""
    os.chown(open_folder, 54321, 54321)
    assert "54321 has no entry in /etc/passwd" in said(WHOLE.format(folder=str(open_folder)), uid=54321)


@as_root
def test_root_hands_postgres_to_an_existing_account(open_folder: Path) -> None:
    """The server is not root's, its state is in the data folder, which it can reach."""
    account = postgres_account()
    assert account is not None
    assert said(WHOLE.format(folder=str(open_folder))).split() == [str(account.uid), "True", "None"]


@as_root
def test_a_folder_that_the_account_cannot_reach_is_left_closed(tmp_path: Path) -> None:
    """State goes to a random name under /var/lib/fastocsp, said in a line; no parent is opened; a restart finds it."""
    tmp_path.chmod(0o700)
    server = EmbeddedPostgres(tmp_path / "data")
    try:
        server.start()
        state = server.state
        assert state.parent == folders.ROOT_STATE
        assert state.parent.stat().st_mode & 0o777 == 0o711
        assert state.stat().st_mode & 0o777 == 0o700
        assert tmp_path.stat().st_mode & 0o777 == 0o700
        notice = server.notice()
        assert notice is not None
        assert str(state) in notice
        assert "\n" not in notice
        server.stop()
        again = EmbeddedPostgres(tmp_path / "data")
        assert again.state == state
        again.start()
        again.stop()
    finally:
        server.stop()
        left = server.state
        shutil.rmtree(left)
        left.with_name(f"{left.name}.of").unlink()


@as_root
def test_a_wheel_that_the_account_cannot_reach_is_copied(tmp_path: Path, open_folder: Path) -> None:
    """bin, lib, share and the wheel's own libraries; the copy runs as the account and is made once."""
    account, found = postgres_account(), find_postgres()
    assert account is not None
    tmp_path.chmod(0o700)
    closed = _copy_of(found, tmp_path)
    copy = reachable(closed, account, open_folder)
    assert copy.bin.is_relative_to(open_folder)
    for program in (copy.postgres, copy.initdb):
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True, env={}, cwd="/", **as_account(account)
        )
        assert str(found.major) in done.stdout
    made = copy.bin.stat().st_ctime_ns
    assert reachable(closed, account, open_folder).bin.stat().st_ctime_ns == made
    assert reachable(found, None, open_folder) is found


def _copy_of(found: PostgresBinaries, folder: Path) -> PostgresBinaries:
    prefix = folder / "wheel" / found.bin.parent.name
    for part in ("bin", "lib", "share"):
        shutil.copytree(found.bin.parent / part, prefix / part, symlinks=True)
    if found.wheel:
        shutil.copytree(found.wheel.with_name(f"{found.wheel.name}.libs"), folder / f"{found.wheel.name}.libs")
        (folder / "wheel").rename(folder / found.wheel.name)
        prefix = folder / found.wheel.name / prefix.name
    return PostgresBinaries(prefix / "bin", found.major, folder / found.wheel.name if found.wheel else None)


def test_mode_bits_decide_who_may_enter(open_folder: Path) -> None:
    """The owner's bits for the owner, the group's for the group, the others' for the rest; every parent counts."""
    deep = open_folder / "a" / "b"
    deep.mkdir(parents=True)
    owner = Account("me", deep.stat().st_uid, deep.stat().st_gid)
    group, stranger = Account("group", 4_000_000, owner.gid), Account("stranger", 4_000_000, 4_000_000)
    (open_folder / "a").chmod(0o710)
    assert [may_enter(deep, who) for who in (owner, group, stranger)] == [True, True, False]
    (open_folder / "a").chmod(0o601)
    looks_in = os.geteuid() == 0
    assert [may_enter(deep, who) for who in (owner, group, stranger)] == [False, False, looks_in]
    (open_folder / "a").chmod(0o755)


def test_a_state_whose_data_folder_is_gone_is_named(open_folder: Path) -> None:
    """Only what nobody can come back to is named, and nothing is removed."""
    for name, data_dir in {"kept": open_folder, "left": open_folder / "nowhere"}.items():
        (open_folder / name).mkdir()
        (open_folder / f"{name}.of").write_text(f"{data_dir}\n")
    assert abandoned_states(open_folder) == [open_folder / "left"]
    assert (open_folder / "left").is_dir()


def test_a_long_data_folder_has_its_sockets_under_tmp(open_folder: Path) -> None:
    """Over 107 bytes nothing can be bound: both servers still start, and every command finds the same folder."""
    data_dir = open_folder / ("d" * 90)
    folder = run_folder(data_dir)
    try:
        assert folder == run_folder(data_dir) == short_folder(data_dir)
        assert folder.stat().st_mode & 0o777 == 0o700
        server, cache = EmbeddedPostgres(data_dir), EmbeddedValkey(data_dir)
        server.start()
        cache.start()
        asyncio.run(_connects(server.url("owner", "postgres")))
        assert cache.socket.parent == folder
        cache.stop()
        server.stop()
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(server.socket_folder, ignore_errors=True)


async def _connects(url: str) -> None:
    await (await asyncpg.connect(url)).close()


def test_a_short_data_folder_has_its_sockets_inside(open_folder: Path) -> None:
    """DATA_DIR/run, closed to others even when it was open before."""
    (open_folder / "run").mkdir(mode=0o755)
    assert run_folder(open_folder) == open_folder / "run"
    assert (open_folder / "run").stat().st_mode & 0o777 == 0o700


@as_root
def test_a_folder_that_somebody_else_made_is_refused(open_folder: Path) -> None:
    """/tmp is everybody's: a name that was taken, or a symbolic link, is not used."""
    data_dir = open_folder / ("e" * 90)
    short = short_folder(data_dir)
    short.mkdir()
    try:
        os.chown(short, pwd.getpwnam("nobody").pw_uid, -1)
        with pytest.raises(Refused, match="somebody else"):
            run_folder(data_dir)
        short.rmdir()
        short.symlink_to(open_folder)
        with pytest.raises(Refused, match="somebody else"):
            run_folder(data_dir)
    finally:
        short.unlink()
