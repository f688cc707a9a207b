"""The reader of traces by which the durability of questions is judged: it must see what is wrong, or it proves nothing."""

from __future__ import annotations

import pytest

from bench.faults import trace

LOG, PUSHED = "9</tmp/posthouse.db-wal>", '7 read(12<socket:[1]>, "POST /passive HTTP/1.1\\r\\n\\r\\n'
HEARD = PUSHED + '<xml><FromUserName><![CDATA[op1]]></FromUserName></xml>", 65536) = 140'
WRITTEN = f'8 pwrite64({LOG}, "\\0\\0\\345\\233\\233op1#0\\0", 4096, 32) = 4096'
SYNCED = f"8 fdatasync({LOG}) = 0"
SAID = '7 write(12<socket:[1]>, "HTTP/1.1 200 OK\\r\\n\\r\\n", 120) = 120'
SUCCESS = '7 write(12<socket:[1]>, "success", 7) = 7'
ASKED = '7 write(13<socket:[2]>, "{\\"messages\\": [\\"op1#0\\"]}", 40) = 40'
REFUSED = "7 write(12<socket:[1]>, " + '"没能记下", 12) = 12'
BEGUN, ENDED = f"8 fdatasync({LOG} <unfinished ...>", "8 <... fdatasync resumed>) = 0"


@pytest.mark.parametrize(
    ("lines", "is_early"),
    [
        ([HEARD, WRITTEN, SYNCED, SAID, SUCCESS], False),
        ([HEARD, SAID, WRITTEN, SYNCED, SUCCESS], True),
        ([HEARD, WRITTEN, SAID, SUCCESS, SYNCED], True),
        ([HEARD, SYNCED, WRITTEN, SAID, SUCCESS], True),
        ([HEARD, WRITTEN, BEGUN, SAID, ENDED, SUCCESS], True),
        ([HEARD, WRITTEN, BEGUN, ENDED, SAID, SUCCESS], False),
        ([HEARD, BEGUN, WRITTEN, ENDED, SAID, SUCCESS], True),
        ([HEARD, WRITTEN, SYNCED.replace("= 0", "= -1 EIO (Input/output error) (INJECTED)"), SAID], True),
        ([HEARD, WRITTEN, SYNCED.replace("= 0", "= -1 EIO (Input/output error)"), SYNCED, SAID], True),
        ([HEARD, WRITTEN.replace("= 4096", "= -1 ENOSPC (No space left on device)"), SYNCED, SAID], True),
        ([HEARD, WRITTEN.replace("db-wal", "db"), SYNCED, SAID], True),
        ([WRITTEN, ASKED, SYNCED], True),
        ([WRITTEN, SYNCED, ASKED], False),
        ([WRITTEN, HEARD, SAID, REFUSED], False),
    ],
)
def test_what_is_claimed_before_it_is_on_the_disk_is_seen(lines: list[str], is_early: bool) -> None:
    finding = trace.read(lines)

    assert finding.early == ({"op1#0"} if is_early else set())


def test_a_refusal_is_no_acknowledgement_and_success_is_one() -> None:
    assert trace.read([HEARD, SAID, REFUSED]).refused == {"op1#0"}
    assert trace.read([HEARD, SAID, SUCCESS]).acknowledged == {"op1#0"}
    assert trace.read([HEARD]).acknowledged == set()
