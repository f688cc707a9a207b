"""LangChain's models: they add up what is streamed, and bring a client of their own for what they do not know."""

from typing import Any

from acts import given, perform
from langchain_openai import ChatOpenAI, OpenAI

BASE_URL, KEY, _ = given()
SETTINGS: Any = {"model": "gpt-5.2", "base_url": BASE_URL, "api_key": KEY, "max_retries": 0}
chat = ChatOpenAI(**SETTINGS, include_response_headers=True)
response = ChatOpenAI(**SETTINGS, use_responses_api=True)
completion = OpenAI(**SETTINGS)


def streamed(model: Any) -> Any:
    """LangChain gives each stream an id of its own making."""
    return [piece.model_dump(mode="json", exclude={"id"}) for piece in model.stream("驿站是什么？")]


def said(model: Any) -> Any:
    return model.invoke("驿站是什么？").model_dump(mode="json", exclude={"id"})


perform(
    {
        "chat": lambda: said(chat),
        "chat, streamed": lambda: streamed(chat),
        "completion": lambda: completion.invoke("hi"),
        "completion, streamed": lambda: list(completion.stream("hi")),
        "response": lambda: said(response),
        "response, streamed": lambda: streamed(response),
        "models": lambda: chat.root_client.models.list(),
        "refused": lambda: chat.invoke("hi", extra_body={"max_tokens": 5}),
    }
)
