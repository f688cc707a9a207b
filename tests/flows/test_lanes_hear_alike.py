"""Whatever an upstream answers, in whatever pieces, callers of both lanes are told the same."""

from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.flows.raw import FarEnd, Heard, chat, post, until_heard
from tests.flows.side_by_side import Outcome, side_by_side

NO_TYPE = "\r\nContent-Type: application/octet-stream"
OWN_KEY = "sk-own"  # nobody's key: so that no answer is anything to a key of the pool
FIRST = st.sampled_from(
    ["HTTP/1.1 200 OK"] * 12
    + [
        *("HTTP/1.1 201 X", "HTTP/1.1 204 X", "HTTP/1.1 304 X", "HTTP/1.1 400 X", "HTTP/1.1 500 X", "HTTP/1.0 200 OK"),
        *("HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1 302 X", "HTTP/1.1 999 X", "HTTP/1.2 200 OK", "HTTP/1.1 20 X"),
        *(
            "HTTP/1.1 101 X",
            "HTTP/1.1 100 X\r\n\r\nHTTP/1.1 200 OK",
            "HTTP/1.1 103 X\r\nLink: a\r\n\r\nHTTP/1.1 200 OK",
        ),
    ]
)
TYPES = st.sampled_from(
    ["Content-Type: application/json", "Content-Type: text/event-stream", "content-type: text/plain"]
)
LINES = st.lists(
    st.sampled_from(
        [
            *("X-A: b", "X-A: B", "x-a: b", "X-Should-Retry: true", "x-request-id: 2"),
            *("Connection: close", "Connection: keep-alive", "Connection: x-a", "Connection: content-length", "X-B:"),
            *("Set-Cookie: a=b", "Server: x", "X-Request-Id: 1", "openai-organization: org-1", "Retry-After: 5"),
            *(
                "Trailer: X-T",
                "Upgrade: h2c",
                "X-C: \xe9",
                "X-C: \xc3\xa9\x80",
                "X-D: a\tb",
                "X E: f",
                "X-F : g",
                " X-G: h",
                "X-H: a\0b",
            ),
            *("Transfer_Encoding: chunked", "X-Ratelimit-Limit-Requests: 1", "Content-Encoding: gzip", "Date: x"),
        ]
    ),
    max_size=4,
)
BODIES = st.sampled_from(
    [
        *(b"{}", b"", b'{"error":{"message":"x","code":"y"}}', b"x" * 300, b"data: [DONE]\n\n", b"data: {}\n\n"),
        b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n',
    ]
)
FRAMINGS = st.sampled_from(
    ["{}"] * 8 + ["chunked"] * 8 + ["", "9{}", "0", "+{}", "{},{}", "{}\r\nContent-Length: {}", "-1"]
)
MUTATIONS = st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b"\x80", b"1", b":", b";", b"f"])


@st.composite
def answers(draw: st.DrawFn) -> list[bytes]:
    """One answer in up to five pieces, now and then with a byte changed or something behind it."""
    body, framing, lines = draw(BODIES), draw(FRAMINGS), [draw(TYPES), *draw(LINES)]
    if framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
        size = draw(st.integers(1, 99))
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        extension = draw(st.sampled_from([b"", b"", b";a=b", b" "]))
        body = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
        body += draw(st.sampled_from([b"0\r\n\r\n"] * 4 + [b"0\r\nX-T: a\r\n\r\n", b"0\r\n", b"", b"00\r\n\r\n"]))
    elif framing:
        lines.append("Content-Length: " + framing.replace("{}", str(len(body))))
    whole = bytearray("\r\n".join([draw(FIRST), *lines, "", ""]).encode("latin-1") + body)
    whole += draw(st.sampled_from([b""] * 4 + [b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"]))
    if draw(st.integers(0, 2)) == 0:
        at = draw(st.integers(0, len(whole) - 1))
        whole[at : at + draw(st.integers(0, 2))] = draw(MUTATIONS)
    cuts = sorted({0, len(whole), *draw(st.lists(st.integers(0, len(whole)), max_size=4))})
    return [bytes(whole[a:b]) for a, b in itertools.pairwise(cuts)]


def _whole(outcome: Outcome) -> list[tuple[str, bytes]]:
    """Heads and bodies: of a body that was cut more may have been lost on its way, and an empty one needs no type."""
    whole = [(told.head.decode("latin-1"), told.body) for told in outcome.told if told.is_whole]
    return [(head if body else head.replace(NO_TYPE, ""), body) for head, body in whole]


def test_whatever_an_upstream_answers_in_whatever_pieces_both_lanes_tell_the_same(tmp_path: Path) -> None:
    request = post(chat("x"), token=OWN_KEY)

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @example([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-C: \xe9 \xc3\xa9 \x80\xff\r\n\r\n{}"])
    @example([b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"\r\n"])
    @given(answers())
    def agree(pieces: list[bytes]) -> None:
        async def play(heard: Heard, end: FarEnd) -> None:
            for piece in pieces:
                end.say(piece)
                await until_heard()
            end.writer.close()

        both.play(play)
        door, other = both.outcomes([request], asks=1)
        assert len(door.upstream) == len(other.upstream) == 1, "asked once"
        assert _whole(door) == _whole(other)
        assert door.is_open == other.is_open

    with side_by_side(tmp_path, passthrough=True) as both:
        agree()
