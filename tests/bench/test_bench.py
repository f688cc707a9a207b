"""What the benchmarks measure with is right: the bytes, the verdicts, the page and its chart."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from bench import chart, load, report, wire
from bench.chart import Bars
from bench.peers import Absent, bin_of
from bench.report import Claim, Figure, at_least, at_most


def test_answers_vary_as_real_ones_do_and_are_all_of_one_size() -> None:
    heads = [wire.answer_head(number, 1_800_000_000.0 + number // 100) for number in range(2_000)]
    assert len({wire.answer_head(number, 0.0) for number in range(2_000)}) == 2_000
    assert {len(head) for head in heads} == {len(heads[0])}
    assert heads[0].count(b"\r\n") == 19  # a status line and 18 fields; Content-Type and Content-Length come behind


def test_an_event_made_fast_is_the_event_made_as_json() -> None:
    fast = wire.event_now()
    [sent_at] = wire.sent_at(fast)
    assert fast == wire.event(f"{sent_at:019d}")


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_an_answer_is_whole_with_its_last_byte_however_it_arrives(step: int) -> None:
    end = wire.AnswerEnd()
    streamed = wire.stream_head() + wire.event_now() + wire.stream_end()
    for whole in (wire.answer_head(1, 0.0) + wire.answer(), streamed, wire.answer_head(2, 0.0) + wire.answer()):
        pieces = [whole[at : at + step] for at in range(0, len(whole), step)]
        assert [end.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_anything_but_a_200_is_a_fault_of_the_benchmark() -> None:
    with pytest.raises(ValueError, match="expected a 200"):
        wire.AnswerEnd().feed(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


def test_wrk_sends_what_our_own_caller_sends() -> None:
    script, request = load.script(), wire.request(stream=False).decode()
    head, _, body = request.partition("\r\n\r\n")
    assert f"[==[{body}]==]" in script
    of_wrk = {line.split('"')[1] for line in script.splitlines() if line.startswith("wrk.headers")}
    ours = {line.partition(":")[0] for line in head.split("\r\n")[1:]}
    assert ours - of_wrk == {"Host", "Content-Length"}  # which wrk writes itself
    assert len(ours) == 17


def test_a_figure_is_held_to_what_it_must_and_to_what_it_aims_at() -> None:
    claims = [at_least("a rate", rate, "{:.2f}", must=0.45, aim=0.6) for rate in (0.44, 0.45, 0.6)]
    claims += [at_most("a size", size, "{:.0f} KB", must=8, aim=4) for size in (9, 8, 4)]
    assert [claim.verdict for claim in claims] == ["**no**", "yes", "yes, the aim too"] * 2
    assert (claims[3].target, claims[3].aim, claims[3].measured) == ("≤ 8 KB", "≤ 4 KB", "9 KB")


def test_promises_have_a_column_for_aims_where_one_has_an_aim() -> None:
    plain = Claim("a thing", "whole", "whole", is_met=True)
    assert "| promised | target | measured | met |" in report.promises([plain])
    assert "| a thing | whole |  | whole | yes |" in report.promises(
        [plain, at_most("a size", 5, "{:.0f} KB", must=8, aim=4)]
    )


def test_the_page_begins_with_the_promises_and_shows_the_chart() -> None:
    claim = at_most("a size", 5, "{:.0f} KB", must=8, aim=4)
    page = report.page([Figure("Size", "By eye.", ("", "size"), (("ours", "5 KB"),), (claim,))], about="Of a test.")
    assert f"]({report.CHART.name})" in page
    assert page.index("| a size | ≤ 8 KB | ≤ 4 KB | 5 KB | yes |") < page.index("## Size")


def test_the_chart_is_svg_whose_bars_are_as_long_as_their_values() -> None:
    panel = Bars("Rate <of> one", "more", "{:,.0f}", (("posthouse", 500.0), ("nginx", 1000.0), ("none", 0.0)))
    drawn = ET.fromstring(chart.svg("A chart", [panel, panel, panel]))
    bars = [each for each in drawn.iter() if "bar" in each.get("class", "")]
    ours, nginx, none = (float(each.get("width", "")) for each in bars[:3])
    assert ours * 2 == pytest.approx(nginx)
    assert none == 1.0  # something to see
    assert bars[0].get("class") == "bar ours"
    assert len(bars) == 9


def test_a_peer_that_is_not_installed_says_so(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.peers.ENVIRONMENTS", tmp_path)
    with pytest.raises(Absent, match="`python -m bench"):
        bin_of("litellm")
