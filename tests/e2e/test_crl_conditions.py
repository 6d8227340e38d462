"""The 304 of a CRL: the hot lane's and the cold lane's are the same, and connections go on between them."""

from tests.support.breakage import Watch
from tests.support.http import Talk, get_octets
from tests.support.instance import Instance

PATH = "/.well-known/pki/crl/demo"
#: Makes the recogniser leave a request to the full parser, and means nothing to it.
COLD = "TE: trailers\r\n"


def test_hot_and_cold_say_the_same(instance: Instance) -> None:
    """Fields and status, for every form of the condition; the hot ones take no connection to the full parser."""
    with Talk(instance.port) as talk:
        fields = talk.ask(get_octets(PATH))[1]
    tag, date = fields["etag"], fields["last-modified"]
    watch = Watch(instance)
    conditions = [f"If-None-Match: {each}\r\n" for each in (tag, tag.removeprefix("W/"), "*", f'"x", {tag}')]
    conditions += [f"If-Modified-Since: {date}\r\n", f"If-None-Match: {tag}\r\nIf-Modified-Since: never\r\n"]
    for extra in conditions:
        with Talk(instance.port) as hot, Talk(instance.port) as cold:
            said, other = hot.ask(get_octets(PATH, extra)), cold.ask(get_octets(PATH, extra + COLD))
        said[1].pop("date"), other[1].pop("date")
        ages = [each[1].pop("cache-control") for each in (said, other)]
        assert said == other
        assert (said[0], said[2]) == (304, b"")
        first, second = (int(age.removeprefix("public, max-age=").removesuffix(", must-revalidate")) for age in ages)
        assert abs(first - second) <= 1
    assert watch.moved("crl_not_modified") == 2 * len(conditions)
    assert watch.moved("handed_over") <= len(conditions)


def test_one_connection_asks_for_everything(instance: Instance) -> None:
    """Pipelined 304s of the hot lane, then another tag: the whole CRL, by the full parser, on the same connection."""
    with Talk(instance.port) as talk:
        tag = talk.ask(get_octets(PATH))[1]["etag"]
    same, other = (get_octets(PATH, f"If-None-Match: {each}\r\n") for each in (tag, '"other"'))
    with Talk(instance.port) as talk:
        talk.socket.sendall(same * 3 + other + same)
        assert [talk.read()[0] for _ in range(5)] == [304, 304, 304, 200, 304]
    with Talk(instance.port) as talk:
        for path in ("/nobody", "/demo/delta", "/demo%2e", "/demo/"):
            octets = get_octets(PATH.removesuffix("/demo") + path, "If-None-Match: *\r\n")
            assert talk.ask(octets)[0] == 404, path
