"""What the page may have to show: a day as it is, nothing at all, everything failing, and the most of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bot.exchange import Exchange, State
from bot.wechat.hold import Counts
from bot.wechat.view import AccountView, Attempt, ServiceView, Standing
from daemon.operator.context import Mail
from daemon.operator.pending import PENDING_SHOWN
from daemon.operator.seen import CallerView, Seen
from daemon.verification import Misdirected
from proxy.health import CellView
from proxy.history import HistoryView, Moment
from proxy.tally import UpstreamView
from tests.daemon.operator.house import a_key

NOW = 1_000_000.0
QUESTIONS = (
    "为什么天是蓝的，海也是蓝的？请详细解释",
    "用 Python 写一个快速排序",
    "作画 雨夜里的驿站，灯笼，水墨",
    "How do I say “good morning” in Cantonese?",
    "帮我把这段话改得客气一点：东西还没到",
)


@dataclass(frozen=True)
class Scene:
    seen: Seen
    exchanges: tuple[Exchange, ...] = ()

    @property
    def mail(self) -> Mail:
        """The first page of it."""
        pending = sorted((each for each in self.exchanges if each.is_uncollected), key=lambda each: each.asked_at)
        counts = {state.value: sum(each.state is state for each in self.exchanges) for state in State}
        return Mail(pending[:PENDING_SHOWN], len(pending), counts)


def a_history(requests: int, failing: Mapping[int, int] | None = None, *moments: Moment) -> HistoryView:
    """So many requests in the busiest minute, and so many failures in some of them."""
    failures = failing or {}
    wave = [abs((minute * 7) % 23 - 11) + (minute * 5) % 7 for minute in range(60)]
    minutes = tuple((requests * height // 17, failures.get(minute, 0)) for minute, height in enumerate(wave))
    answered, failed = (sum(each[place] for each in minutes) for place in (0, 1))
    return HistoryView(minutes, 19 * answered, 3 * failed, moments)


def asked(state: State, age: float, number: int, question: str = "") -> Exchange:
    return Exchange(
        id=f"e{number}",
        account="gh_0123456789ab",
        openid=f"oABC{number:020}9z",
        push_id=str(number),
        question=question or QUESTIONS[number % len(QUESTIONS)],
        state=state,
        asked_at=NOW - age,
        collected_by="c" if state is State.COLLECTED else "",
    )


def a_day() -> Scene:
    """One key rests for half a minute, one is to be replaced, and the others do the work."""
    limited = Moment(9.0, "key.cooled", "rate", "429 rate_limit_exceeded, try again in 34 s")
    keys = [
        a_key(
            name="studio",
            last4="9f2c",
            organization="org-studio",
            in_flight=3,
            last_request_id="req_7f3ac21b90de",
            history=a_history(14),
        ),
        a_key(
            name="evening",
            last4="K3tQ",
            organization="org-lantern",
            state="cooling",
            rule="rate",
            reason=limited.reason,
            since_seconds=9.0,
            seconds_left=25.0,
            last_request_id="req_02bb8e6417fa",
            cells=(CellView("organization-model", "scripted-large", 25.0, "rate", limited.reason),),
            history=a_history(
                17,
                {57: 2, 58: 1, 59: 3},
                limited,
                Moment(3_720.0, "key.recovered", "rate"),
                Moment(3_761.0, "key.cooled", "rate", "429 rate_limit_exceeded, try again in 40 s"),
            ),
        ),
        a_key(name="reserve", last4="Zx8d", organization="org-lantern", history=a_history(5)),
        a_key(
            name="summer-2025",
            last4="p0Lm",
            organization="org-old",
            state="dead",
            rule="auth",
            reason="401 invalid_api_key",
            since_seconds=30_000.0,
            history=HistoryView(
                answered=12,
                failed=2,
                moments=(
                    Moment(30_000.0, "key.rejected", "auth", "401 invalid_api_key"),
                    Moment(30_005.0, "key.suspected", "auth", "401 invalid_api_key"),
                ),
            ),
        ),
        a_key(
            name="spare",
            last4="77aa",
            state="disabled",
            history=HistoryView(moments=(Moment(86_400.0, "key.disabled"),)),
        ),
    ]
    seen = Seen(
        keys=keys,
        accounts=[
            AccountView(
                "gh_0123456789ab",
                "/wechat",
                (
                    Attempt(NOW - 7_300, "verification", "signature"),
                    Attempt(NOW - 7_100, "verification", "accepted"),
                    Attempt(NOW - 540, "push", "missing_parameter"),
                ),
                Counts(deliveries=1_284, answered=1_207, unanswered=77, budget_left=18, budget=20),
                ServiceView(Standing.ALLOWED, brought=61, kept=2),
            )
        ],
        upstreams=[UpstreamView("openai", 500, 0.42, 2.31, 0.0007, 9.0, "evening", "rate")],
        callers=[
            CallerView("laptop", 812, 1_284_311, 2, expires_at=NOW + 5 * 86_400),
            CallerView("workshop", 96, 88_200, 1, 60, 100_000, 4),
            CallerView("bot", 1_207, 640_118, 0),
        ],
        tokens_today={"studio": 1_102_400, "evening": 701_530, "reserve": 208_699},
        public_url="https://post.example.org",
        listen=("127.0.0.1:8080",),
    )
    pending = [(State.ANSWERED, 2_900), (State.ANSWERED, 310), (State.THINKING, 14), (State.QUEUED, 3)]
    exchanges = [asked(state, age, number) for number, (state, age) in enumerate(pending)]
    exchanges += [asked(State.COLLECTED, 9_000, number) for number in range(100, 318)]
    return Scene(seen, tuple(exchanges))


def nothing() -> Scene:
    """Before a key, an account, or a caller is configured."""
    return Scene(Seen(listen=("0.0.0.0:8080",)))


def a_start() -> Scene:
    """Configured just now, and nobody has come yet."""
    account = AccountView("gh_0123456789ab", "/wechat", (), Counts(0, 0, 0, 20, 20))
    return Scene(
        Seen(
            keys=[a_key(), a_key(name="second", last4="c3d4")],
            accounts=[account],
            upstreams=[UpstreamView("openai", 0, None, None, None)],
            callers=[CallerView("laptop", 0, 0, 0)],
            listen=("0.0.0.0:80",),
        )
    )


def everything_failing() -> Scene:
    """The upstream rejects every key at once, another one breaks down, and WeChat's pushes do not get in."""
    why = "all keys rejected at once: look at the egress address"
    incident = CellView("upstream", "", 22.0, "incident", why)
    breaker = CellView("upstream", "", 48.0, "breaker", "it failed connect again and again")
    rejected = Moment(8.0, "key.suspected", "auth", why)
    down = dict.fromkeys(range(52, 60), 6)
    keys = [
        a_key(
            name=name,
            organization="org-lantern",
            state="suspect",
            rule="auth",
            reason=why,
            since_seconds=8.0,
            cells=(incident,),
            history=a_history(9, {58: 4, 59: 7}, rejected, Moment(8.0, "upstream.rested", "incident", why)),
        )
        for name in ("studio", "evening")
    ] + [
        a_key(
            name="azure-east",
            upstream="azure",
            state="cooling",
            rule="breaker",
            reason=breaker.reason,
            since_seconds=12.0,
            seconds_left=48.0,
            cells=(breaker,),
            history=a_history(4, down, Moment(12.0, "upstream.rested", "breaker", breaker.reason)),
        ),
        a_key(
            name="azure-west",
            upstream="azure",
            organization="org-old",
            state="exhausted",
            rule="quota",
            reason="429 insufficient_quota",
            since_seconds=3_000.0,
            seconds_left=18_600.0,
            cells=(breaker,),
            history=a_history(4, down, Moment(3_000.0, "key.exhausted", "quota", "429 insufficient_quota")),
        ),
        a_key(name="summer-2025", upstream="azure", state="dead", rule="dead", reason="401 account_deactivated"),
    ]
    refused = tuple(Attempt(NOW - 12 * at, "push", "undecipherable") for at in range(5, 0, -1))
    forged = tuple(Attempt(NOW - 3 * at, "push", "signature") for at in range(7, 0, -1))
    seen = Seen(
        keys=keys,
        accounts=[
            AccountView("gh_0123456789ab", "/wechat", refused, Counts(0, 0, 0, 20, 20)),
            AccountView("gh_ba9876543210", "/other", forged, Counts(210, 180, 30, 0, 20)),
        ],
        upstreams=[
            UpstreamView("openai", 214, 0.61, 9.87, 0.0009, 8.0, "evening", "auth"),
            UpstreamView("azure", 31, 1.2, 128.4, 0.0011, 1.0, "azure-east", "connect"),
        ],
        callers=[
            CallerView("laptop", 812, 284_311, 4, 60, 250_000, 4, NOW - 3_600),
            CallerView("workshop", 96, 88_200, 1, 60, 100_000, 4, NOW + 2 * 86_400),
        ],
        tokens_today={"studio": 102_400},
        misdirected=[Misdirected(NOW - 80, "/wechat/", "GET"), Misdirected(NOW - 20, "/Wechat", "POST")],
        front_buffers=True,
        listen=("0.0.0.0:8080",),
    )
    states = [State.FAILED, State.QUEUED, State.QUEUED, State.THINKING]
    return Scene(seen, tuple(asked(state, 60.0 * number, number) for number, state in enumerate(states)))


def the_most() -> Scene:
    """Ten keys with every trouble and all their history, and more waiting than a page holds."""
    why = "429 rate_limit_exceeded, try again in 34 s"
    cooled, recovered = Moment(60.0, "key.cooled", "rate", why), Moment(60.0, "key.recovered", "rate")
    past = tuple(replace(each, seconds_ago=40.0 * at) for at, each in enumerate([cooled, recovered] * 5))
    ragged = HistoryView(tuple(((7 * at) % 61, (5 * at) % 13 + 1) for at in range(60)), 18_000, 3_512, past)
    states = [
        "dead",
        "exhausted",
        "blocked_ip",
        "suspect",
        "cooling",
        "cooling",
        "cooling",
        "cooling",
        "exhausted",
        "dead",
    ]
    keys = [
        a_key(
            name=f"account-of-{number}",
            organization=f"org-{number // 2:024}",
            state=state,
            rule="slow_down",
            reason=why,
            since_seconds=5.0,
            seconds_left=34.0,
            last_request_id=f"req_{number:032}",
            cells=(CellView("key-model", "gpt-some-model-2026-01-01", 34.0, "rate", why),) * 2,
            history=ragged,
        )
        for number, state in enumerate(states)
    ]
    exchanges = tuple(asked(State.ANSWERED, 100.0 + number, number) for number in range(10_000))
    return Scene(replace(a_day().seen, keys=keys), exchanges)


def a_table(count: int = 200) -> Scene:
    """More keys than anybody reads as cards."""
    day = a_day()
    patterns = day.seen.keys
    keys = [replace(patterns[number % 3], name=f"key-{number:03}") for number in range(count - 4)]
    keys += [replace(patterns[3 + number % 2], name=f"old-{number}") for number in range(4)]
    return Scene(replace(day.seen, keys=keys), day.exchanges)


def hostile() -> Scene:
    """Everything a stranger can write, and names at their longest."""
    evil, turned, faces = '<script>alert(1)</script><b title="', "\u202egnp.exe \u2066عربي שלום", "👩‍👩‍👧‍👦🏳️‍🌈🔥" * 9
    longest = "W" * 64
    keys = [
        a_key(
            name=longest,
            organization=evil + "o" * 80,
            state="cooling",
            rule="rate",
            reason=evil,
            since_seconds=-5.0,
            seconds_left=4_000_000.0,
            last_request_id=turned + "r" * 200,
            cells=tuple(CellView("key-model", words * 40, 9.0, "comet", evil) for words in (evil, turned, "M", "🔥")),
            history=a_history(2, {3: 1}, Moment(-3.0, "key.stolen", evil, evil)),
        ),
        a_key(name="x" * 64, organization="o" * 300),
    ]
    account = AccountView(
        "g" * 64, "/" + "p" * 99, (Attempt(NOW + 99, "push", evil),), Counts(9_999_999, 1, 9_999_998, 0, 20)
    )
    seen = Seen(
        keys=keys,
        accounts=[account],
        upstreams=[UpstreamView("u" * 64, 1, 100_000.0, 1_000_000.0, 0.0, 0.0, longest, evil)],
        callers=[CallerView(longest, 10**12, 10**15, 10**6, 10**6, 1, 1, NOW)],
        tokens_today={longest: 10**15},
        misdirected=[Misdirected(NOW + 5, f"/{evil}{'�' * 60}", "PROPFIND")],
    )
    words = (evil, turned, faces, "长" * 2_000, "\n\n\t", "W" * 2_000, "")
    return Scene(seen, tuple(asked(State.THINKING, -10.0, number, each or " ") for number, each in enumerate(words)))


SCENES: Mapping[str, Callable[[], Scene]] = {
    "day": a_day,
    "nothing": nothing,
    "start": a_start,
    "failing": everything_failing,
    "most": the_most,
    "table": a_table,
    "hostile": hostile,
}
