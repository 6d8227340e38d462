"""An outage is a line when it begins and a line when it ends, however many requests meet it."""

from structlog.testing import capture_logs

from responder.log_limits import OutageLog, RateLimitedLog


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
