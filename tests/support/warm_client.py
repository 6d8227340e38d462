"""The client's end of tests/support/warm_command.py, and as a program what stands for `fastocsp` in a shell.

It imports little: it is started once per command of a page.
"""

import json
import os
import signal
import socket
import sys

#: Bytes of each number on the line.
LENGTH = 8


def request(
    path: str, words: list[str], env: dict[str, str], cwd: str, fds: tuple[int, int, int], timeout_s: float | None
) -> int:
    """Return the exit status of a command that the server at `path` forks; negative: ended by that signal.

    `fds` are its standard streams. Kill the command and raise TimeoutError when it takes longer than `timeout_s`.
    """
    told = json.dumps({"words": words, "env": env, "cwd": cwd}).encode()
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
        socket.send_fds(line, [len(told).to_bytes(LENGTH, "big")], fds)
        line.sendall(told)
        pid = int.from_bytes(receive(line, LENGTH), "big")
        line.settimeout(timeout_s)
        try:
            return int.from_bytes(receive(line, LENGTH), "big", signed=True)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise


def receive(line: socket.socket, size: int) -> bytes:
    """Return exactly `size` bytes; ConnectionError when there are fewer."""
    received = b""
    while len(received) < size:
        more = line.recv(size - len(received))
        if not more:
            raise ConnectionError("the server of commands closed the connection")
        received += more
    return received


def main() -> None:
    """Run `SOCKET WORD...` with the environment, folder and streams of this process, and end as the command does."""
    status = request(sys.argv[1], sys.argv[2:], dict(os.environ), os.getcwd(), (0, 1, 2), None)  # noqa: PTH109
    if status < 0:
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    main()
