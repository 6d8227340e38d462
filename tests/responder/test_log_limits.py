"""An outage is a line when it begins and a line when it ends, however many requests meet it."""

import logging

from structlog.testing import capture_logs

from responder.log_limits import ChangeLog, LimitedHandler, OutageLog, RateLimitedLog


def test_an_outage_is_said_twice() -> None:
    """A thousand failures and a thousand answers: two lines."""
    outage = OutageLog("redis")
    with capture_logs() as lines:
        outage.answered()
        for _ in range(1000):
            outage.failed(ConnectionRefusedError("nobody"))
        for _ in range(1000):
            outage.answered()
    assert [line["event"] for line in lines] == ["tier is away", "tier is back"]
    assert (lines[0]["tier"], lines[0]["error"]) == ("redis", "nobody")


def test_what_could_come_for_every_request_comes_seldom() -> None:
    """One line, and the next one says how many were left out."""
    seldom = RateLimitedLog(pause_s=0.02)
    with capture_logs() as lines:
        for _ in range(50):
            seldom.warn("odd", name="a")
        seldom._next = 0.0
        seldom.warn("odd", name="b")
    assert [(line["name"], line["left_out"]) for line in lines] == [("a", 0), ("b", 49)]


def test_lines_of_a_library_are_structured_and_limited_by_kind() -> None:
    """A stranger's thousand bad requests are one line; the traceback of another kind is a line too."""
    logger = logging.Logger("uvicorn.error")
    logger.addHandler(LimitedHandler())
    with capture_logs() as lines:
        for number in range(1000):
            logger.warning("Invalid HTTP request received.")
            logger.warning("from %d", number)
        try:
            raise KeyError("defect")
        except KeyError:
            logger.exception("Exception in ASGI application")
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("Invalid HTTP request received.", "warning"),
        ("from 0", "warning"),
        ("Exception in ASGI application", "error"),
    ]
    assert lines[2]["exc_info"][0] is KeyError
    assert {line["logger"] for line in lines} == {"uvicorn.error"}


def test_kinds_of_lines_are_bounded() -> None:
    """Messages without a template, each different: one line for all beyond the bound."""
    logger = logging.Logger("asyncio")
    logger.addHandler(LimitedHandler())
    with capture_logs() as lines:
        for number in range(1000):
            logger.error(f"socket {number}")
    assert len(lines) <= 65


def test_change_is_logged_and_a_state_that_stays_is_not() -> None:
    """By thing; after it was well the same reason is a change again."""
    changes = ChangeLog()
    with capture_logs() as lines:
        for reason in ("a", "a", "b", "b"):
            changes.warn("broken", "one", reason)
            changes.warn("broken", "other", "c")
        changes.well("one")
        changes.warn("broken", "one", "b")
    assert [line["error"] for line in lines] == ["a", "c", "b", "b"]
