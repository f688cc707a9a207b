"""The official client for Python, today's."""

from pathlib import Path
from typing import Any

from acts import fingerprint, given, perform
from openai import OpenAI

BASE_URL, KEY, FILE = given()
ASKED: Any = [{"role": "user", "content": "驿站是什么？"}]
client = OpenAI(api_key=KEY, base_url=BASE_URL, max_retries=0)


def whole(answer: Any) -> Any:
    """A raw answer with its headers."""
    return {"status": answer.status_code, "headers": dict(answer.headers), "body": answer.parse()}


def streamed(answer: Any) -> Any:
    return {"status": answer.status_code, "headers": dict(answer.headers), "events": list(answer.parse())}


def upload() -> Any:
    kept = client.files.create(file=Path(FILE), purpose="assistants")
    return {"file": kept, "content": fingerprint(client.files.content(kept.id).read())}


def realtime() -> Any:
    with client.realtime.connect(model="gpt-realtime") as talk:
        heard = [talk.recv()]
        talk.response.create()
        while heard[-1].type != "response.done":
            heard.append(talk.recv())
        return heard


perform(
    {
        "realtime": realtime,
        "chat": lambda: whole(client.chat.completions.with_raw_response.create(model="gpt-5.2", messages=ASKED)),
        "chat, streamed": lambda: streamed(
            client.chat.completions.with_raw_response.create(
                model="gpt-5.2", messages=ASKED, stream=True, stream_options={"include_usage": True}
            )
        ),
        "completion": lambda: whole(client.completions.with_raw_response.create(model="gpt-5.2", prompt="hi")),
        "completion, streamed": lambda: streamed(
            client.completions.with_raw_response.create(model="gpt-5.2", prompt="hi", stream=True)
        ),
        "response": lambda: whole(client.responses.with_raw_response.create(model="gpt-5.2", input="hi")),
        "response, streamed": lambda: streamed(
            client.responses.with_raw_response.create(model="gpt-5.2", input="hi", stream=True)
        ),
        "models": lambda: whole(client.models.with_raw_response.list()),
        "refused": lambda: client.chat.completions.create(model="gpt-5.2", messages=ASKED, max_tokens=5),
        "upload": upload,
    }
)
