"""No address, and no number of issuers, takes the descriptors that others need."""

import base64
import contextlib
import hashlib
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from responder.domain.catalog import Catalog, CRLEntry
from responder.edge.crl_shelf import CRLShelf
from tests.support.ca import Authority
from tests.support.edge_loop import Running, ask, question, until
from tests.support.http import chunked_octets, get_octets

GOOD = b"\x05" * 8


def get(running: Running, extra: str = "") -> bytes:
    """A GET about the good one."""
    return get_octets("/ocsp/" + base64.b64encode(question(running.authority, GOOD)).decode(), extra)


def connect(running: Running, source: str) -> socket.socket:
    """A client of that address."""
    return socket.create_connection(running.address, timeout=5, source_address=(source, 0))


def is_open(client: socket.socket) -> bool:
    """The server has not closed it."""
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False
    finally:
        client.settimeout(5)


def test_beyond_its_limit_an_address_loses_its_own_longest_idle_connections(
    tmp_path: Path, authority: Authority
) -> None:
    """Another address keeps its own, and gets more; each new connection is answered."""
    with Running(tmp_path, authority, per_address=3) as running:
        running.put(GOOD)
        other = connect(running, "127.0.0.2")
        ask(other, get(running))
        clients = []
        for number in range(6):
            clients.append(connect(running, "127.0.0.3"))
            assert ask(clients[-1], get(running))[0].startswith(b"HTTP/1.1 200"), number
        until(lambda: running.counted("connections_evicted") == 3)
        assert [is_open(client) for client in clients] == [False] * 3 + [True] * 3
        assert ask(other, get(running))[0].startswith(b"HTTP/1.1 200")
        for client in (other, *clients):
            client.close()
        until(lambda: running.loop.open_connections == 0)


def test_connections_that_were_handed_over_count_for_their_address(tmp_path: Path, authority: Authority) -> None:
    """One budget: beyond it an idle one goes, of the loop or, asked of Python, of those handed over."""
    with Running(tmp_path, authority, per_address=3) as running:
        running.put(GOOD)
        handed = [connect(running, "127.0.0.3") for _ in range(2)]
        for client in handed:
            client.sendall(chunked_octets(b"x"))
        until(lambda: len(running.cold_places) == 2)
        clients = []
        for _ in range(2):
            clients.append(connect(running, "127.0.0.3"))
            assert ask(clients[-1], get(running))[0].startswith(b"HTTP/1.1 200")
        until(lambda: not is_open(clients[0]))
        assert running.given_up == []
        running.loop.cold_gone(*running.cold_places[0])
        handed.append(connect(running, "127.0.0.3"))
        handed[-1].sendall(chunked_octets(b"x"))
        until(lambda: len(running.cold_places) == 3)
        clients[1].sendall(chunked_octets(b"x"))
        until(lambda: len(running.cold_places) == 4)
        late = connect(running, "127.0.0.3")
        assert ask(late, get(running))[0].startswith(b"HTTP/1.1 200")
        until(lambda: len(running.given_up) == 1)
        assert running.given_up[0] in running.cold_places[1:]
        for client in (*handed, *clients, late):
            client.close()


def test_address_whose_connections_are_all_busy_elsewhere_is_refused(tmp_path: Path, authority: Authority) -> None:
    """Python is asked to give up sixteen at most; beyond that the newest connection is closed."""
    with Running(tmp_path, authority, per_address=20) as running:
        running.put(GOOD)
        clients = []
        for number in range(1, 41):
            clients.append(connect(running, "127.0.0.3"))
            with contextlib.suppress(OSError):
                clients[-1].sendall(chunked_octets(b"x"))
            until(lambda number=number: running.counted("connections_opened") == number)
            until(lambda number=number: len(running.cold_places) == min(number, 36))
        assert running.counted("connections_refused") == 4
        assert len(set(running.given_up)) == 16
        for client in clients:
            client.close()


def test_beyond_the_limit_of_all_the_longest_idle_connection_goes(tmp_path: Path, authority: Authority) -> None:
    """Whoever has it; one that was used since stays."""
    with Running(tmp_path, authority, max_connections=4) as running:
        running.put(GOOD)
        clients = [connect(running, f"127.0.0.{number}") for number in range(2, 6)]
        for client in (*clients, clients[0]):
            ask(client, get(running))
        late = connect(running, "127.0.0.9")
        assert ask(late, get(running))[0].startswith(b"HTTP/1.1 200")
        assert [is_open(client) for client in clients] == [True, False, True, True]
        for client in (late, *clients):
            client.close()


def test_requests_that_have_begun_go_after_idle_connections(tmp_path: Path, authority: Authority) -> None:
    """A half request is given up only when no connection is idle between two."""
    with Running(tmp_path, authority, per_address=2) as running:
        running.put(GOOD)
        half, idle = connect(running, "127.0.0.3"), connect(running, "127.0.0.3")
        half.sendall(get(running)[:20])
        until(lambda: running.loop.open_connections == 2)
        ask(idle, get(running))
        third = connect(running, "127.0.0.3")
        ask(third, get(running))
        assert (is_open(half), is_open(idle)) == (True, False)
        half.sendall(get(running)[20:])
        assert half.recv(12) == b"HTTP/1.1 200"
        for client in (half, idle, third):
            client.close()


def test_a_trusted_proxy_may_have_any_number_of_connections(tmp_path: Path, authority: Authority) -> None:
    """It speaks for many."""
    proxies = ((socket.inet_aton("127.0.0.4"), 32),)
    with Running(tmp_path, authority, per_address=2, proxies=proxies) as running:
        running.put(GOOD)
        clients = [connect(running, "127.0.0.4") for _ in range(20)]
        for client in clients:
            ask(client, get(running))
        assert all(is_open(client) for client in clients)
        for client in clients:
            client.close()
        until(lambda: running.loop.open_connections == 0)


def test_many_addresses_come_and_go(tmp_path: Path, authority: Authority) -> None:
    """The file of addresses stays right: afterwards each may have as many as before."""
    with Running(tmp_path, authority, per_address=2, max_connections=50) as running:
        running.put(GOOD)
        for round_ in range(3):
            clients = [connect(running, f"127.0.{round_}.{number % 20 + 2}") for number in range(60)]
            for client in clients[-20:]:
                ask(client, get(running))
            for client in clients:
                client.close()
        until(lambda: running.loop.open_connections == 0)
        pair = [connect(running, "127.0.0.2") for _ in range(2)]
        for client in pair:
            ask(client, get(running))
        assert all(is_open(client) for client in pair)
        for client in pair:
            client.close()


def test_crl_files_take_no_descriptors(tmp_path: Path) -> None:
    """Three hundred CRLs, gzipped ones beside them, and no descriptor more than before."""
    entries = {}
    for number in range(300):
        der, packed = b"%d" % number * 50, b"packed"
        digest = hashlib.sha256(der).hexdigest()
        path = tmp_path / f"i{number}-1-{digest[:16]}.crl"
        path.write_bytes(der)
        path.with_suffix(".crl.gz").write_bytes(packed)
        entries[f"i{number}"] = CRLEntry(1, 0, 9, path.name, digest, len(der), len(packed))
    before = len(list(Path("/proc/self/fd").iterdir()))
    shelf = CRLShelf(tmp_path, 3600)
    shelf.take(Catalog(crls=entries))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    for number in range(300):
        shelved = shelf.get(f"i{number}")
        assert shelved is not None
        assert bytes(shelved.der) == b"%d" % number * 50
        assert bytes(shelved.packed or b"") == b"packed"


RAISE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))
from responder.process import raise_open_files
from responder.telemetry import set_up_logs
set_up_logs("json", "test")
print(raise_open_files({needed}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(("hard", "needed", "warned"), [(512, 300, False), (512, 5000, True)])
def test_limit_of_open_files_is_raised_to_the_hard_one_and_a_low_one_is_logged(
    hard: int, needed: int, *, warned: bool
) -> None:
    """With the number that is needed and the one that there is."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 512:
        pytest.skip("the hard limit of this account is lower")
    program = RAISE.format(hard=hard, needed=needed)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["512", "512"]
    assert ("open file limit too low" in done.stderr) is warned
    if warned:
        assert '"limit": 512' in done.stderr
        assert '"needed": 5000' in done.stderr
