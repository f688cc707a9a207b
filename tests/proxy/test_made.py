from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from proxy.made import KEPT_BYTES, MadeWatch


def told(chunks: Iterable[bytes], *, is_stream: bool, is_whole: bool = True) -> set[str]:
    ids: set[str] = set()
    watch = MadeWatch(ids.add, is_stream=is_stream)
    for chunk in chunks:
        watch.feed(chunk)
    if is_whole:
        watch.end()
    return ids


def pieces(whole: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]
    return [whole[start:end] for start, end in itertools.pairwise(places)]


EVENTS = (
    ": keep-alive\n\n"
    'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_0001","instructions":"{\\"id\\":'
    '\\"file-0001\\"}"}}\n\n'
    'data: {"type":"response.output_text.delta","item_id":"msg_00001","delta":"驿站"}\n\n'
    'data: {"type":"response.output_item.added","item":{"id":"ci_00001","container_id":"cntr_0001"}}\n\n'
    'data: {"type":"response.completed","response":{"id":"resp_0001","output":[{"container_id":"cntr_0001"}]}}'
)
ANSWER = json.dumps({"object": "response", "metadata": {"id": "file-0001"}, "id": "resp_0001", "output": []}, indent=1)


@given(cuts=st.lists(st.integers(0, 2_000), max_size=40), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_stream_tells_the_same_however_it_is_cut(cuts: list[int], end: str) -> None:
    whole = EVENTS.replace("\n", end).encode()

    assert told(pieces(whole, cuts), is_stream=True) == {"resp_0001", "cntr_0001"}


@given(cuts=st.lists(st.integers(0, 2_000), max_size=40))
def test_a_body_tells_the_same_however_it_is_cut(cuts: list[int]) -> None:
    assert told(pieces(ANSWER.encode(), cuts), is_stream=False) == {"resp_0001"}


@given(chunks=st.lists(st.binary(max_size=60), max_size=20), is_stream=st.booleans())
def test_no_bytes_upset_the_watch(chunks: list[bytes], is_stream: bool) -> None:
    told(chunks, is_stream=is_stream)


def test_an_id_that_stands_first_is_known_before_the_rest_of_the_body_came() -> None:
    assert told([b'{"id": "file-0001", "bytes"'], is_stream=False, is_whole=False) == {"file-0001"}


def test_an_event_tells_its_id_before_the_stream_ends() -> None:
    first = b'data: {"id":"thread_01","object":"thread"}\n\n'

    assert told([first], is_stream=True, is_whole=False) == {"thread_01"}


def test_a_body_too_large_to_keep_tells_the_id_that_stands_first_and_nothing_from_its_middle() -> None:
    long = b"x" * KEPT_BYTES

    assert told([b'{"id":"resp_0001","x":"', long, b'"}'], is_stream=False) == {"resp_0001"}
    assert told([b'{"x":"', long, b'{"id":"file-0001"}'], is_stream=False) == set()


def test_an_event_too_large_to_keep_is_passed_over_and_the_next_is_not() -> None:
    chunks = [b'data: {"x":"', b"x" * KEPT_BYTES, b'\ndata: {"id":"file-0001"}\n\n', b'data: {"id":"resp_0001"}\n\n']

    assert told(chunks, is_stream=True) == {"resp_0001"}


def test_deep_nesting_in_an_answer_tells_nothing_and_breaks_nothing() -> None:
    assert told([b'{"x":' + b"[" * 200_000], is_stream=False) == set()
