"""The official client for Python as it was before its first release: many programs have never left it."""

from pathlib import Path
from typing import Any

import openai
from acts import fingerprint, given, perform

openai.api_base, openai.api_key, FILE = given()
ASKED = [{"role": "user", "content": "驿站是什么？"}]


def whole(answer: Any) -> Any:
    """An answer and the one header that the client keeps besides the organization."""
    return {"body": answer.to_dict_recursive(), "took": answer.response_ms}


def streamed(events: Any) -> Any:
    return [event.to_dict_recursive() for event in events]


def upload() -> Any:
    with Path(FILE).open("rb") as file:
        kept = openai.File.create(file=file, purpose="assistants", user_provided_filename="a.bin")
    return {"file": kept.to_dict_recursive(), "content": fingerprint(openai.File.download(kept.id))}


perform(
    {
        "chat": lambda: whole(openai.ChatCompletion.create(model="gpt-5.2", messages=ASKED)),
        "chat, streamed": lambda: streamed(openai.ChatCompletion.create(model="gpt-5.2", messages=ASKED, stream=True)),
        "completion": lambda: whole(openai.Completion.create(model="gpt-5.2", prompt="hi")),
        "completion, streamed": lambda: streamed(openai.Completion.create(model="gpt-5.2", prompt="hi", stream=True)),
        "models": lambda: whole(openai.Model.list()),
        "refused": lambda: openai.ChatCompletion.create(model="gpt-5.2", messages=ASKED, max_tokens=5),
        "upload": upload,
    }
)
