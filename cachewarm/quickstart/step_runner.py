"""Runs a step of the start (cachewarm/quickstart/steps.py) and waits for it."""

import json
import os
from collections.abc import Callable
from typing import Any

from cachewarm import errors
from cachewarm.config import Settings
from cachewarm.errors import Fatal, Interrupted
from responder.config import as_environment
from responder.forks import ForkServer

MODULE = "cachewarm.quickstart.steps"
_TURN_S, _END_S = 0.1, 5.0


def run_step(
    server: ForkServer, step: str, settings: Settings, *words: str, is_stopping: Callable[[], bool]
) -> dict[str, str]:
    """Return what the step returns, or raise the error that ended it. Interrupted as soon as `is_stopping`."""
    read, write = os.pipe()
    try:
        process = server.fork(MODULE, [step, *words, "@0"], as_environment(settings), pass_fds=[write])
    finally:
        os.close(write)
    with os.fdopen(read) as file:
        while process.wait_for(_TURN_S) is None:
            if is_stopping():
                process.terminate()
                if process.wait_for(_END_S) is None:
                    process.kill()
                raise Interrupted("stopped while starting")
        text = file.read()
    if not text:
        raise Fatal(f"the step {step!r} of the start ended with status {process.returncode}")
    told: dict[str, Any] = json.loads(text)
    if "error" in told:
        raise getattr(errors, told["error"], Fatal)(told["text"])
    result: dict[str, str] = told["result"]
    return result
