"""What holds for the pool whatever happens, in any order, at any moment."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.health import KeyView
from proxy.key import Key, Upstream
from proxy.keypool import KeyPool
from proxy.lease import Lease, NoKeyAvailable, Want
from proxy.verdict import Rule, Verdict
from tests.proxy.conftest import Clock, a_key, a_pool

MODELS = ("m1", "m2", "")
TINY = 1e-6  # seconds; what rounding may make of a deadline on its way through the wall clock
OTHER = Upstream("other", "https://other.test/v1", is_first=False)
KEYS: tuple[Key, ...] = (
    a_key("a", max_concurrency=2),
    a_key("b", weight=3.0),
    a_key("c", organization="org-1"),
    a_key("d", tier=1, cooldown_seconds=90.0, upstream=OTHER),
    a_key("e", tier=1, models=("m1",), upstream=OTHER),
)
NAMES = [key.name for key in KEYS]
verdicts = st.builds(
    Verdict,
    st.sampled_from([verdict for verdict in Rule for _ in range(3 if verdict in (Rule.OK, Rule.RATE) else 1)]),
    wait_seconds=st.sampled_from([None, 0.5, 20.0, 3600.0]),
    organization=st.sampled_from(["", "org-1", "org-2"]),
    is_project_limit=st.booleans(),
)
OF_CLIENTS = (Rule.CLIENT, Rule.GONE, Rule.TOO_LARGE)
Deadlines = dict[tuple[str, ...], float]


class Pool(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.pool = a_pool(*KEYS, clock=self.clock)
        self.unsettled: list[Lease] = []
        self.open: list[Lease] = []
        self.checking: list[Key] = []
        self.trying: dict[Lease, set[tuple[str, ...]]] = {}
        self.deadlines: Deadlines = {}

    @initialize(orgs=st.lists(st.sampled_from(["", "org-1", "org-2"]), min_size=5, max_size=5))
    def learn(self, orgs: list[str]) -> None:
        for name, organization in zip(NAMES, orgs, strict=True):
            lease = self.lease_of(name, "m1")
            self.pool.settle(lease, Verdict(Rule.OK, organization=organization))
            self.pool.release(lease)

    # --- what happens

    @rule(seconds=st.sampled_from([0.01, 0.6, 5.0, 21.0, 61.0, 700.0, 4_000.0, 90_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.let_pass(seconds)

    @rule(
        model=st.sampled_from(MODELS),
        avoiding=st.sets(st.sampled_from(NAMES), max_size=2),
        failing=st.sampled_from(["", "", "openai", "other"]),
    )
    def a_request_comes(self, model: str, avoiding: set[str], failing: str) -> None:
        self.clock.let_pass(0.001)
        before = self.views()
        well = {v.name for v in before.values() if v.name not in avoiding and self.is_plainly_well(v, model)}
        try:
            lease = self.pool.lease(Want("proxy", model, failing=failing), avoiding=avoiding)
        except NoKeyAvailable as nothing:
            none = nothing
        else:
            elsewhere = {name for name in well if before[name].upstream != failing}
            assert lease.key.upstream.name != failing or not elsewhere, "another upstream is well"
            self.check_choice(lease, model, before[lease.key.name], well if not failing else set())
            self.unsettled.append(lease)
            self.open.append(lease)
            return
        assert not well
        assert (none.retry_after_seconds is not None) is (none.cause in ("cooling", "upstream"))
        assert none.retry_after_seconds is None or none.retry_after_seconds > 0

    def check_choice(self, lease: Lease, model: str, chosen: KeyView, well: set[str]) -> None:
        assert lease.key.serves("proxy", model)
        assert model or lease.key.upstream.is_first
        assert not [cell for cell in chosen.cells if cell.model in ("", model)]
        assert chosen.state in ("ready", "cooling") or (
            chosen.state in ("exhausted", "blocked_ip") and chosen.seconds_left == 0
        )
        assert not lease.key.max_concurrency or chosen.in_flight < lease.key.max_concurrency
        assert not (lease.key.tier and well & {"a", "b", "c"}), "a lower tier is well"
        names = {name for name in self.cells() if self.concerns(name, chosen, model)}
        assert not [name for tried in self.trying.values() for name in tried & names], "a second probe"
        self.trying[lease] = names

    @precondition(lambda self: self.unsettled)
    @rule(data=st.data(), verdict=verdicts)
    def an_answer_comes(self, data: st.DataObject, verdict: Verdict) -> None:
        self.clock.let_pass(0.001)
        lease = self.unsettled.pop(data.draw(st.integers(0, len(self.unsettled) - 1)))
        del self.trying[lease]
        if verdict.rule in OF_CLIENTS:
            verdict = Verdict(verdict.rule, wait_seconds=verdict.wait_seconds)
        before = self.decisions()
        self.pool.settle(lease, verdict)
        if verdict.rule in OF_CLIENTS:
            assert self.decisions() == before
        assert self.pool.settle(lease, Verdict(Rule.DEAD)) == ()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def a_request_is_over(self, data: st.DataObject) -> None:
        lease = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        self.trying.pop(lease, None)
        if lease in self.unsettled:
            self.unsettled.remove(lease)
        self.pool.release(lease)
        self.pool.release(lease)

    @rule(verdict=verdicts)
    def checks_are_made(self, verdict: Verdict) -> None:
        due = self.pool.checks_due()
        assert self.pool.checks_due() == ()
        for key in due:
            self.pool.checked(key, verdict)

    @precondition(lambda self: not self.open)
    @rule()
    def the_process_is_killed_and_started_again(self) -> None:
        again = a_pool(*reversed(KEYS), clock=self.clock)
        again.restore(self.pool.health(wall=5_000.0), wall=5_000.0)
        self.clock.let_pass(0.001)  # more than what rounding may make of a deadline
        assert self.eligible(again) == self.eligible(self.pool)
        for model in MODELS:
            lost, kept = (pool.lacking(Want("proxy", model)) for pool in (self.pool, again))
            assert (lost is None) is (kept is None)
            if lost is not None and kept is not None:
                assert lost.cause == kept.cause
                assert abs((lost.retry_after_seconds or 0) - (kept.retry_after_seconds or 0)) < TINY
        lost_check, kept_check = self.pool.next_check_at(), again.next_check_at()
        assert (lost_check is None) is (kept_check is None)
        assert abs(max(lost_check or 0.0, self.clock.now) - max(kept_check or 0.0, self.clock.now)) < TINY
        self.pool = again

    # --- what holds

    @invariant()
    def what_is_in_flight_is_counted(self) -> None:
        for view in self.views().values():
            assert view.in_flight == sum(lease.key.name == view.name for lease in self.open)

    @invariant()
    def no_deadline_moves_earlier(self) -> None:
        now = self.cells()
        for view in self.views().values():
            if view.state in ("exhausted", "blocked_ip") and view.seconds_left:
                now["state", view.name] = self.clock.now + view.seconds_left
        for name, until in now.items():
            assert until >= self.deadlines.get(name, until) - TINY, name
            assert until <= self.clock.now + 86_400 + TINY
        for tried in self.trying.values():  # a cell that was ended and made again is another cell
            tried &= now.keys()
        self.deadlines = now

    def teardown(self) -> None:
        for lease in self.open:
            self.pool.settle(lease, Verdict(Rule.GONE))
            self.pool.release(lease)
        self.clock.let_pass(2 * 86_400)
        fallen = {view.name for view in self.pool.snapshot() if view.state in ("dead", "suspect", "disabled")}
        assert self.eligible(self.pool)["m1"] == set(NAMES) - fallen

    # --- how it is seen

    def views(self) -> dict[str, KeyView]:
        return {view.name: view for view in self.pool.snapshot()}

    def cells(self) -> Deadlines:
        return {record.cell: record.until for record in self.pool.health(wall=self.clock.now).cells}

    def decisions(self) -> object:
        """All that decides but the breaker: any answer at all ends that."""
        views = [(v.state if v.state != "cooling" else "ready", v.organization) for v in self.pool.snapshot()]
        cells = {r.cell: r.until for r in self.pool.health(wall=self.clock.now).cells if r.rule != "breaker"}
        return views, cells, self.pool.next_check_at()

    def concerns(self, name: tuple[str, ...], view: KeyView, model: str) -> bool:
        owners = {"key": f"fp-{view.name}", "organization": view.organization, "upstream": view.upstream}
        return owners[name[0].removesuffix("-model")] == name[1] and name[2:] in ((), (model,))

    def is_plainly_well(self, view: KeyView, model: str) -> bool:
        key = next(key for key in KEYS if key.name == view.name)
        is_tried = any(self.concerns(name, view, model) for name in self.cells())
        has_room = not key.max_concurrency or view.in_flight < key.max_concurrency
        return view.state == "ready" and not is_tried and has_room and key.serves("proxy", model)

    def lease_of(self, name: str, model: str) -> Lease:
        return self.pool.lease(Want("proxy", model), avoiding=set(NAMES) - {name})

    def eligible(self, pool: KeyPool) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {model: set() for model in MODELS}
        for model, name in ((model, name) for model in MODELS for name in NAMES):
            try:
                lease = pool.lease(Want("proxy", model), avoiding=set(NAMES) - {name})
            except NoKeyAvailable:
                continue
            pool.release(lease)
            found[model].add(name)
        return found


TestPool = Pool.TestCase
TestPool.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
