"""Heads of a known shape are read at one look, and never otherwise than the long way reads them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.headers import Fields, passable_down
from proxy.passage import head_of
from proxy.wire.head_shape import MOST_BYTES, MOST_SHAPES, SIGHTS, Shapes
from proxy.wire.response import LINE_BYTES, Malformed, Reader, read_head

HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Tue\r\nContent-Type: application/json\r\nopenai-organization: org-x\r\n"
    b"x-request-id: req_1\r\nServer: cloudflare\r\nx-ratelimit-limit-tokens: \t20 \r\nConnection: keep-alive\r\n"
    b"Content-Length: 12\r\nX-Odd:\xe9 |()\\"
)
NAMES = (
    b"Date",
    b"date",
    b"Content-Type",
    b"Content-Length",
    b"Connection",
    b"X-A",
    b"x_a",
    b"Server",
    b"Set-Cookie",
    b"+",
)
values = st.binary(max_size=6) | st.sampled_from(
    [b" keep-alive", b" close, X-A", b" 12", b"\t", b" a\x7f", b" a\rb", b" a\r\nX-B: c"]
)
heads = st.builds(
    lambda first, lines: b"\r\n".join([first, *(name + b":" + value for name, value in lines)]),
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 429 ", b"HTTP/1.1 200 (.*)"]),
    st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=5),
)


def learned(head: bytes, *, sights: int = SIGHTS) -> Shapes:
    shapes = Shapes()
    status, _, _ = read_head(head)
    for _ in range(sights):
        shapes.saw(status, head)
    return shapes


def seen(status: int, headers: Fields) -> tuple[object, ...]:
    down = passable_down(headers)
    return (
        status,
        list(headers),
        headers.said(),
        headers.have_names(),
        headers.block(),
        list(down),
        down.block(),
        down.said(),
    )


def the_long_way(head: bytes) -> tuple[object, ...] | None:
    try:
        status, headers, is_1_1 = read_head(head)
        return seen(status, headers) if is_1_1 else None
    except Malformed:
        return None


def test_a_shape_is_known_from_so_many_sights_on_and_reads_as_the_long_way_does() -> None:
    assert learned(HEAD, sights=SIGHTS - 1).read(HEAD) is None
    other = HEAD.replace(b"req_1", b"req_2").replace(b": 12", b": 1234").replace(b": Tue", b":")
    for head in (HEAD, other):
        known = learned(HEAD).read(head)
        assert known is not None
        assert seen(*known) == the_long_way(head)


@given(heads, heads)
def test_whatever_a_learned_shape_takes_the_long_way_takes_and_reads_the_same(taught: bytes, head: bytes) -> None:
    try:
        shapes = learned(taught)
    except Malformed:
        return
    for asked in (taught, head):
        known = shapes.read(asked)
        assert known is None or seen(*known) == the_long_way(asked)


@given(st.integers(0, len(HEAD) - 1), st.integers(0, 255), st.booleans())
def test_no_byte_of_a_head_can_be_changed_so_that_the_two_ways_differ(at: int, byte: int, is_put_in: bool) -> None:
    changed = HEAD[:at] + bytes([byte]) + HEAD[at + (not is_put_in) :]
    known = learned(HEAD).read(changed)
    assert known is None or seen(*known) == the_long_way(changed)


def test_a_header_that_connection_names_stays_behind_also_in_a_known_shape() -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nX-Own: 1\r\nX-Other: 2"
    known = learned(head).read(head.replace(b"keep-alive", b"X-Own"))
    assert known is not None
    assert list(passable_down(known[1])) == [("X-Other", "2")]


def test_a_head_that_says_one_thing_twice_or_is_very_long_is_not_learned() -> None:
    for head in (HEAD + b"\r\nContent-Type: text/html", HEAD + b"x" * MOST_BYTES):
        assert learned(head).read(head) is None


def test_a_line_that_is_too_long_is_so_in_a_head_of_a_known_shape_too() -> None:
    """It was taken there, up to 64 KiB, and refused in any other."""
    long = HEAD.replace(b"req_1", b"x" * (LINE_BYTES + 1))
    assert the_long_way(long) is None
    assert learned(HEAD).read(long) is None


def test_but_a_few_shapes_are_known_at_a_time_the_latest() -> None:
    shapes = Shapes()
    many = [b"HTTP/1.1 200 OK\r\nX-%d: a" % number for number in range(MOST_SHAPES + 2)]
    for head in many:
        for _ in range(SIGHTS):
            shapes.saw(200, head)
    assert [shapes.read(head) is not None for head in many] == [False, False, *(True for _ in range(MOST_SHAPES))]


def test_names_that_are_new_each_time_are_counted_but_not_for_ever() -> None:
    shapes = Shapes()
    for number in range(1_000):
        shapes.saw(200, b"HTTP/1.1 200 OK\r\nX-%d: a" % number)
    assert len(shapes._sights) < 100


def test_a_reader_frames_a_known_head_as_it_does_an_unknown_one() -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-Test-Shape: 1\r\nContent-Length: 2\r\n\r\nok"
    for _ in range(SIGHTS + 2):
        reader = Reader("POST")
        assert reader.feed(answer) == b"ok"
        assert reader.is_over
        assert reader.is_reusable
    refused = Reader("POST")
    try:
        refused.feed(answer.replace(b"h: 2", b"h: +2"))
    except Malformed:
        return
    raise AssertionError("a length that is none was taken")


def test_on_its_way_to_the_caller_a_known_head_is_never_divided_into_lines() -> None:
    """It was, to find out whether there were any: the look that the shape had spared."""
    known = learned(HEAD).read(HEAD)
    assert known is not None
    head_of(known[0], down := passable_down(known[1]), "1", length=None, closes=False)
    assert (known[1]._lines, down._lines) == (None, None)
