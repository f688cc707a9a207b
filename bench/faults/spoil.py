"""What becomes of a good answer on its way from an upstream that fails."""

from __future__ import annotations

import asyncio

from bench.faults.relay import Reply

MOMENT_SECONDS = 0.05  # else a reset overtakes what was sent before it
FILL = b"X-Fill: " + b"a" * 1000 + b"\r\n"
FILLS = 1024  # 1 MB


async def reset_before(reply: Reply) -> None:
    reply.reset()


async def reset_within(reply: Reply) -> None:
    await reply.write(reply.answer[: len(reply.head) + len(reply.body) * 2 // 3])
    await asyncio.sleep(MOMENT_SECONDS)
    reply.reset()


async def reset_after(reply: Reply) -> None:
    await reply.write(reply.answer)
    await asyncio.sleep(MOMENT_SECONDS)
    reply.reset()


async def silence(reply: Reply) -> None:
    await reply.hold()


async def half_open(reply: Reply) -> None:
    await reply.write(reply.answer[: len(reply.head) + len(reply.body) // 2])
    await reply.hold()


async def drip(reply: Reply) -> None:
    size = max(1, len(reply.answer) // 100)
    for at in range(0, len(reply.answer), size):
        await reply.write(reply.answer[at : at + size])
        await asyncio.sleep(0.01)


async def break_chunks(reply: Reply) -> None:
    """The last third of an answer in chunks begins with a size that is none."""
    body, cut = reply.body, len(reply.body) * 2 // 3
    if b"chunked" not in reply.head.lower():
        lines = [line for line in reply.head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        reply.answer = b"\r\n".join([*lines[:-2], b"Transfer-Encoding: chunked", b"", b""])
        body = b"%x\r\n%b\r\n" % (cut, body[:cut])
        await reply.write(reply.answer + body + b"zz\r\n")
    else:
        at = body.rindex(b"\r\n", 0, cut) + 2
        await reply.write(reply.head + body[:at] + b"zz\r\n" + body[at:])
    await reply.hold()


async def lie_about_length(reply: Reply) -> None:
    """A hundred bytes more than come."""
    lines = reply.head.split(b"\r\n")[:-2]
    kept = [line for line in lines if not line.lower().startswith((b"content-length", b"transfer-encoding"))]
    body = _unchunked(reply.body) if b"chunked" in reply.head.lower() else reply.body
    await reply.write(b"\r\n".join([*kept, b"Content-Length: %d" % (len(body) + 100), b"", b""]) + body)
    reply.writer.close()


async def fill_head(reply: Reply) -> None:
    first, _, rest = reply.answer.partition(b"\r\n")
    await reply.write(first + b"\r\n" + FILL * FILLS + rest)


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return whole
