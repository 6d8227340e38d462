"""The mutex between Python and threads without the GIL."""

import threading
import time

from _fastocsp.lock import Lock
from _fastocsp.table import Table


def test_one_at_a_time_and_the_others_run_meanwhile() -> None:
    """Who waits lets go of the GIL: the holder, a Python thread too, goes on and gives it back."""
    lock, order = Lock(), []

    def wait() -> None:
        with lock:
            order.append("second")

    with lock:
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.1)
        order.append("first")
    waiting.join(5)
    assert order == ["first", "second"]


def test_a_table_waits_for_its_lock() -> None:
    """Every method: while somebody holds it, nothing is read or changed."""
    lock = Lock()
    table, done = Table(1 << 20, lock), threading.Event()

    def read() -> None:
        table.get(1, 1, b"x")
        table.discard(1, 1, b"x")
        done.set()

    with lock:
        reading = threading.Thread(target=read)
        reading.start()
        assert not done.wait(0.1)
    assert done.wait(5)
    reading.join()
    assert table.lock is lock
