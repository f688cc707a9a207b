"""
How a scripted upstream holds a conversation over a WebSocket: the connection's side of `talk`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web
from multidict import CIMultiDict

from daemon.demo.talk import Talk, Talked, answer

MESSAGE_BYTES = 32 << 20  # more than the gateway lets through
MEBIBYTE = bytes(1 << 20)


async def hold(
    talk: Talk, request: web.Request, headers: CIMultiDict[str], talked: Talked, changed: Callable[[], None]
) -> web.WebSocketResponse:
    """Until either end ends it. `changed` is called after everything that happens."""
    socket = web.WebSocketResponse(
        protocols=talk.protocols, max_msg_size=MESSAGE_BYTES, autoclose=False, autoping=False, timeout=1.0
    )
    socket.headers.extend(headers)
    await socket.prepare(request)

    async def say(event: dict[str, Any]) -> None:
        await socket.send_str(json.dumps(event, ensure_ascii=False))
        talked.sent += 1

    try:
        await say({"type": "session.created", "session": {"model": request.query.get("model")}})
        for _ in range(talk.pieces):
            await socket.send_bytes(MEBIBYTE)
            talked.sent += 1
            changed()
        for _ in range(talk.pings):
            await socket.ping(b"are you there?")
        if talk.is_deaf:
            await asyncio.Event().wait()
        while talk.closes_after is None or len(talked.heard) < talk.closes_after:
            message = await socket.receive()
            match message.type:
                case WSMsgType.TEXT:
                    talked.heard.append(message.data)
                    for event in answer(message.data, talk):
                        await say(event)
                case WSMsgType.BINARY:
                    talked.heard.append(message.data)
                    await socket.send_bytes(message.data)
                case WSMsgType.PING:
                    await socket.pong(message.data)
                case WSMsgType.PONG:
                    talked.pongs += 1
                case WSMsgType.CLOSE:
                    talked.code, talked.reason = message.data, message.extra or ""
                    await socket.close(code=message.data or 1000)
                    return socket
                case _:
                    return socket
            changed()
        if talk.code:
            await socket.close(code=talk.code, message=talk.reason.encode())
        elif request.transport is not None:
            request.transport.abort()
        return socket
    finally:
        talked.is_over = True
        changed()
