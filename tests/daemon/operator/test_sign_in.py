from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.operator.sign_in import (
    ADDRESSES_KEPT,
    CLOCK_STEP,
    GUESS_SECONDS,
    GUESSES,
    GUESSES_OF_A_SITE,
    SESSION_SECONDS,
    SIGNED_OUT_KEPT,
    TICKET_SECONDS,
    TICKETS_KEPT,
    Guesses,
    Seal,
    SignedOut,
    Tickets,
)

SEAL = Seal(b"s" * 32, "open the gate")
NOW = 1_000_000.0


def test_only_the_password_is_the_password() -> None:
    assert SEAL.is_password("open the gate")
    assert not SEAL.is_password("open the gate ")
    assert not SEAL.is_password("")


@pytest.mark.parametrize(
    ("passed", "is_good"),
    [
        (0, True),
        (SESSION_SECONDS - 1, True),
        (SESSION_SECONDS, False),
        (-CLOCK_STEP, True),
        (-CLOCK_STEP - 1, False),
    ],
)
def test_a_session_is_good_for_thirty_days_and_not_before_it_was_issued(passed: float, is_good: bool) -> None:
    assert SEAL.is_session(SEAL.session("nonce", NOW), NOW + passed) is is_good


@pytest.mark.parametrize("seal", [Seal(b"t" * 32, "open the gate"), Seal(b"s" * 32, "another password")])
def test_a_session_ends_with_the_secret_and_with_the_password(seal: Seal) -> None:
    assert not seal.is_session(SEAL.session("nonce", NOW), NOW)


def test_a_form_token_is_no_session_and_a_session_no_form_token() -> None:
    stem, _, mac = SEAL.session("nonce", NOW).rpartition(".")
    assert not SEAL.is_session(f"{stem}.{SEAL.form_token(stem)}", NOW)
    assert not SEAL.is_form_token(mac, stem)


def test_a_form_token_belongs_to_one_cookie() -> None:
    assert SEAL.is_form_token(SEAL.form_token("mine"), "mine")
    assert not SEAL.is_form_token(SEAL.form_token("mine"), "yours")
    assert not SEAL.is_form_token(SEAL.form_token(""), "")


@given(st.text())
def test_no_invented_cookie_is_a_session(cookie: str) -> None:
    assert not SEAL.is_session(cookie, NOW)


@given(st.integers(0, 200), st.characters())
def test_a_session_with_one_character_changed_is_none(place: int, character: str) -> None:
    session = SEAL.session("0123456789abcdef", NOW)
    place %= len(session)
    forged = session[:place] + character + session[place + 1 :]
    assert SEAL.is_session(forged, NOW) is (forged == session)


def test_a_seal_shows_nothing_of_itself() -> None:
    assert repr(SEAL) == "<Seal>"


def guessed(guesses: Guesses, address: str, times: int, now: float = NOW) -> None:
    for _ in range(times):
        guesses.was_wrong(address, now)


def test_after_five_wrong_passwords_an_address_waits_out_its_minute() -> None:
    guesses = Guesses()
    guessed(guesses, "192.0.2.1", GUESSES - 1)
    assert guesses.wait_seconds("192.0.2.1", NOW) == 0
    guesses.was_wrong("192.0.2.1", NOW + 10)
    assert guesses.wait_seconds("192.0.2.1", NOW + 10) == GUESS_SECONDS - 10
    assert guesses.wait_seconds("192.0.2.1", NOW + GUESS_SECONDS) == 0
    assert guesses.wait_seconds("192.0.2.2", NOW + 10) == 0


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("", "192.0.2.1", False),
    ],
)
def test_an_ipv6_network_counts_as_one_address(one: str, other: str, are_one: bool) -> None:
    guesses = Guesses()
    guessed(guesses, one, GUESSES)
    assert bool(guesses.wait_seconds(other, NOW)) is are_one


def test_whoever_owns_many_ipv6_networks_does_not_have_the_guesses_of_all() -> None:
    guesses = Guesses()
    for number in range(GUESSES_OF_A_SITE):
        address = f"2001:db8:0:{number:x}::1"
        assert guesses.wait_seconds(address, NOW + number) == 0
        guesses.was_wrong(address, NOW + number)
    assert guesses.wait_seconds("2001:db8:0:ffff::1", NOW + 30) == GUESS_SECONDS - 30
    assert guesses.wait_seconds("2001:db8:1::1", NOW + 30) == 0
    assert guesses.wait_seconds("2001:db8:0:ffff::1", NOW + GUESS_SECONDS) == 0


def test_a_clock_set_back_does_not_lock_anybody_out() -> None:
    guesses = Guesses()
    guessed(guesses, "192.0.2.1", GUESSES, NOW + 400 * 86_400)
    assert guesses.wait_seconds("192.0.2.1", NOW) == 0


def test_guessers_from_everywhere_are_remembered_up_to_a_bound() -> None:
    guesses = Guesses()
    for number in range(ADDRESSES_KEPT + 100):
        guesses.was_wrong(f"guesser-{number}", NOW)
    assert len(guesses._wrong) == ADDRESSES_KEPT


def test_a_session_that_was_signed_out_is_known_and_no_other() -> None:
    signed_out, session = SignedOut(), SEAL.session("a", NOW)
    signed_out.note(session, NOW)
    assert session in signed_out
    assert SEAL.session("b", NOW) not in signed_out
    assert "" not in signed_out


def test_a_signed_out_session_is_forgotten_when_it_would_be_too_old_anyway() -> None:
    signed_out = SignedOut()
    signed_out.note(SEAL.session("a", NOW), NOW)
    later = NOW + SESSION_SECONDS
    signed_out.note(SEAL.session("b", later), later)
    assert signed_out.rows() == {"b": int(later)}


def test_the_sessions_that_ended_last_are_remembered_up_to_a_bound() -> None:
    signed_out = SignedOut()
    for number in range(SIGNED_OUT_KEPT + 10):
        signed_out.note(SEAL.session(f"n{number}", NOW), NOW)
    assert len(signed_out.rows()) == SIGNED_OUT_KEPT
    assert SEAL.session("n10", NOW) in signed_out


def test_what_was_kept_is_known_after_a_restart() -> None:
    before, after = SignedOut(), SignedOut()
    before.note(SEAL.session("a", NOW), NOW)
    after.restore(before.rows())
    assert SEAL.session("a", NOW) in after


def test_a_ticket_is_good_once() -> None:
    tickets = Tickets()
    tickets.issue("ticket", NOW)
    assert not tickets.redeem("another", NOW)
    assert tickets.redeem("ticket", NOW + TICKET_SECONDS - 1)
    assert not tickets.redeem("ticket", NOW)


def test_a_ticket_is_good_for_ten_minutes() -> None:
    tickets = Tickets()
    tickets.issue("ticket", NOW)
    assert not tickets.redeem("ticket", NOW + TICKET_SECONDS)


def test_only_the_newest_tickets_are_kept() -> None:
    tickets = Tickets()
    for number in range(TICKETS_KEPT + 1):
        tickets.issue(f"ticket-{number}", NOW)
    assert not tickets.redeem("ticket-0", NOW)
    assert tickets.redeem("ticket-1", NOW)
