"""The mutex between Python and threads without the GIL."""

import threading
import time

from _fastocsp.shared.lock import Lock


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
