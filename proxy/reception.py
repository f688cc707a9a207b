"""
Who asks, and what: from a request below /v1, whichever lane it came by, to the errand that carries it out.

Rule 1: who calls is settled before a byte of the body is read.
Rule 2: what is judged of a request (its path, its model, the objects it names) is what is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import field

from proxy.alias import Aliases, Question
from proxy.asking import METHODS, Asking
from proxy.callers import Caller, Callers
from proxy.command import Call
from proxy.draft import Unsupported
from proxy.errand import Errand
from proxy.headers import Fields, Pairs
from proxy.intake import Body, Stream
from proxy.key import Key, Upstream
from proxy.keypool import KeyPool
from proxy.lease import OwnKey
from proxy.objects import NameWatch
from proxy.peek import Peek, peek
from proxy.refusal import invalid_api_key, invalid_request
from proxy.retelling import Retelling
from proxy.target import Target, refuse_credential_in_query, target_of
from proxy.value import value_type
from proxy.witness import Bond, Witnesses


@value_type
class GatewaySettings:
    """`first_upstream` serves callers that bring their own key, where `passthrough` lets them."""

    deny: tuple[str, ...] = ("/v1/organization/*", "/v1/projects/*", "/v1/dashboard/*")
    replay_bytes: int = 8_388_608
    max_body_bytes: int = 536_870_912
    queue_seconds: float = 8.0
    passthrough: bool = False
    first_upstream: Upstream | None = None
    aliases: Aliases = field(default_factory=Aliases)


@value_type
class Asked:
    """
    A request as it goes up. `bond` and `names` say what of others it must not reach, `retelling` how its answer is told where
    it went up in other words.
    """

    errand: Errand
    body: Body
    bond: Bond
    retelling: Retelling | None
    names: NameWatch | None


class Reception:
    def __init__(
        self,
        pool: KeyPool,
        callers: Callers,
        settings: GatewaySettings,
        *,
        witnesses: Witnesses,
        unsupported: Unsupported,
        secrets: Sequence[str],
        wall_clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self.callers, self.settings, self.secrets = callers, settings, tuple(secrets)
        self._pool, self._witnesses, self._unsupported = pool, witnesses, unsupported
        self._wall_clock, self._jitter = wall_clock, jitter

    def caller_of(self, asking: Asking) -> Caller | None:
        """The issued caller; None for one that may pass with a key of its own. Raises a Refusal for everybody else."""
        refuse_credential_in_query(asking.raw)
        caller = self.callers.caller_of(asking.digest, now=self._wall_clock())
        if caller is None and not (asking.token and self.settings.passthrough and self.settings.first_upstream):
            raise invalid_api_key()
        return caller

    def known_model(self, asking: Asking) -> bytes | None:
        """What is known of an alias, where that is what is asked: it needs no upstream."""
        if asking.method != "GET":
            return None
        return self.settings.aliases.model(target_of(asking.raw, self.settings.deny))

    def target_of(self, asking: Asking) -> Target:
        """Where the request goes; before a byte of its body is read. Raises a Refusal."""
        if asking.method not in METHODS:
            raise invalid_request("This method is not forwarded.")
        return target_of(asking.raw, self.settings.deny)

    def asked(
        self,
        asking: Asking,
        target: Target,
        body: Body,
        request_id: str,
        caller: Caller | None,
        upgrade: tuple[Peek, Pairs] | None = None,
    ) -> Asked:
        """
        What goes up. Raises a Refusal for what the caller may not ask, or nobody may. `upgrade`: what `opening` makes of one.
        """
        settings, is_upgrade = self.settings, upgrade is not None
        headers: Pairs = asking.up
        kind = _content_type(asking.up)
        stream = body if isinstance(body, Stream) else None
        whole = body if isinstance(body, bytes) else None
        seen = Peek() if whole is None else peek(whole, kind)
        if upgrade is not None:
            seen, handshake = upgrade
            headers = [*headers, *handshake]
        if stream is not None and stream.length is not None:
            headers = [*headers, ("Content-Length", str(stream.length))]
        question, bond, names = Question(target, seen, whole), Bond(), None
        if caller is not None:
            caller.must_be_allowed(asking.method, target, seen.model, is_seen=stream is None, is_upgrade=is_upgrade)
            question = settings.aliases.question(asking.method, question, kind, self._unsupported)
            sees_all = caller.see_all or not self.callers.are_several
            method = "" if is_upgrade else asking.method  # a WebSocket's GET reads no list
            bond = self._witnesses.bond(method, question.target, question.seen, caller=caller.name, sees_all=sees_all)
            names = None if sees_all else self._witnesses.names_of(caller.name)
            if stream is not None:
                stream.names = names
        call = Call(
            id=request_id,
            method=asking.method,
            target=question.target,
            headers=headers if question.draft is None else _with_json(headers),
            model=question.seen.model,
            caller=caller.name if caller else "",
            can_replay=stream is None,
            queue_seconds=self._patience(asking) if caller else 0.0,
            only=bond.claim.key,
            preferred=bond.preferred,
            is_upgrade=is_upgrade,
            is_client_retry=asking.is_retry,
            draft=question.draft,
        )
        keys = self._pool if caller else OwnKey(self._own_key(asking), now=time.monotonic())
        errand = Errand(
            call,
            keys,
            clock=time.monotonic,
            jitter=self._jitter,
            secrets=self.secrets,
            is_own_key=caller is None,
        )
        return Asked(errand, question.body if stream is None else stream, bond, question.retelling, names)

    def _patience(self, asking: Asking) -> float:
        """How long the caller may be kept in line: no longer than it waits for an answer itself."""
        most, own = self.settings.queue_seconds, asking.patience_seconds
        return most if own is None or own > most else own

    def _own_key(self, asking: Asking) -> Key:
        upstream, token = self.settings.first_upstream, asking.token
        if upstream is None or token is None:
            raise invalid_api_key()
        return Key(
            "caller's own",
            token,
            fingerprint="",
            upstream=upstream,
            organization=asking.by_name.get("openai-organization", ""),
            project=asking.by_name.get("openai-project", ""),
        )


def _content_type(up: Fields) -> str:
    """By which the body is judged: as it goes up, and there is one. Raises a Refusal."""
    if len(up.said().get("content-type", ())) > 1:
        raise invalid_request("Send one Content-Type.")
    return up.get("content-type")


def _with_json(headers: Pairs) -> Pairs:
    return Fields([*Fields.of(headers).without("content-type").lines, b"Content-Type: application/json"])
