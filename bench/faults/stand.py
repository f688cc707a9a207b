"""The daemon's neighbours in a run of faults: a model that names its questions, and WeChat on both sides."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, TCPConnector

from bench.faults.books import Books, answer_to, named_in
from bench.faults.house import APP_SECRET, KEYS, PASSIVE, VERIFIED, House, inside
from bench.faults.people import SENTENCES, Caller, Point, Reader, Scene
from daemon.demo.dialects import Asked
from daemon.demo.steps import Answer
from daemon.demo.subscriber import WeChatSide
from daemon.demo.upstream import ScriptedUpstream
from daemon.demo.wechat_platform import Sent
from daemon.demo.wechat_server import WeChatServer

THINK_SECONDS, PIECE_SECONDS = 0.6, 0.03  # at most


@dataclass(slots=True)
class Stand:
    scene: Scene = field(repr=False)
    upstream: ScriptedUpstream = field(repr=False)
    server: WeChatServer = field(repr=False)
    sides: dict[str, WeChatSide] = field(repr=False)
    members: dict[str, Reader] = field(default_factory=dict, repr=False)  # of the verified account, by openid

    @property
    def house(self) -> House:
        return self.scene.house

    @property
    def books(self) -> Books:
        return self.scene.books

    def readers(self, passive: int, verified: int) -> list[Reader]:
        passives, side = self.sides[PASSIVE.id], self.sides[VERIFIED.id]
        members = [Reader(f"ov{number}", side, self.scene, self.server) for number in range(verified)]
        self.members |= {reader.openid: reader for reader in members}
        return [Reader(f"op{number}", passives, self.scene) for number in range(passive)] + members

    def callers(self, count: int, **more: Any) -> list[Caller]:
        return [Caller(f"oc{number}", self.scene, **more) for number in range(count)]


@asynccontextmanager
async def standing(
    folder: Path, chance: random.Random, *, think_seconds: float = THINK_SECONDS, **house: Any
) -> AsyncIterator[Stand]:
    """The daemon itself is not started. `house` are settings of House."""
    books = Books()

    def text(asked: Asked) -> str:
        name = named_in(asked.question)
        books.calls[name] += 1
        scene.pass_by(Point.ASKED)
        return answer_to(name, chance.randrange(SENTENCES))

    def pause(asked: Asked) -> float:
        scene.pass_by(Point.ANSWERING)
        return chance.uniform(0, PIECE_SECONDS)

    def think(asked: Asked) -> float:
        return chance.choice((0.0, chance.uniform(0, think_seconds)))

    well = Answer(text=text, think_seconds=think, chunk_seconds=pause)
    folder.mkdir(exist_ok=True)
    async with (
        ScriptedUpstream({key: [well] for key in KEYS}) as upstream,
        WeChatServer(VERIFIED.app_id, APP_SECRET) as server,
        ClientSession(connector=TCPConnector(limit=0)) as session,
        inside(House(folder, upstream.base_url, server.base_url, **house)) as home,
        WeChatSide(f"{home.url}/passive", PASSIVE) as passive,
        WeChatSide(f"{home.url}/verified", VERIFIED) as verified,
    ):
        scene = Scene(home, books, chance, session)

        stand = Stand(scene, upstream, server, {PASSIVE.id: passive, VERIFIED.id: verified})

        def on_sent(sent: Sent) -> None:
            scene.pass_by(Point.SENT)
            books.pushed[sent.openid, sent.words] += 1
            stand.members[sent.openid].read(sent.words)

        server.on_sent = on_sent
        yield stand
