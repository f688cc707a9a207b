"""LiteLLM as a client; as a gateway it would stand where we do."""

from pathlib import Path
from typing import Any

import litellm
from acts import fingerprint, given, perform

BASE_URL, KEY, FILE = given()
THERE: Any = {"api_base": BASE_URL, "api_key": KEY, "max_retries": 0}
CHAT: Any = {"model": "openai/gpt-5.2", "messages": [{"role": "user", "content": "驿站是什么？"}], **THERE}
COMPLETION: Any = {"model": "text-completion-openai/gpt-5.2", "prompt": "hi", **THERE}
litellm.suppress_debug_info = True


def whole(answer: Any) -> Any:
    return {"body": answer, "headers": answer._hidden_params.get("additional_headers")}


def streamed(events: Any) -> Any:
    """LiteLLM stamps the pieces with its own clock."""
    return [event.model_dump(mode="json", exclude={"created"}) for event in events]


def upload() -> Any:
    with Path(FILE).open("rb") as file:
        kept = litellm.create_file(file=file, purpose="assistants", custom_llm_provider="openai", **THERE)
    content = litellm.file_content(kept.id, custom_llm_provider="openai", **THERE)
    return {"file": kept, "content": fingerprint(content.content)}


perform(
    {
        "chat": lambda: whole(litellm.completion(**CHAT)),
        "chat, streamed": lambda: streamed(litellm.completion(**CHAT, stream=True)),
        "completion": lambda: whole(litellm.text_completion(**COMPLETION)),
        "completion, streamed": lambda: streamed(litellm.text_completion(**COMPLETION, stream=True)),
        "models": lambda: litellm.get_valid_models(
            check_provider_endpoint=True, custom_llm_provider="openai", api_key=KEY, api_base=BASE_URL
        ),
        "refused": lambda: litellm.completion(**CHAT, extra_body={"max_tokens": 5}),
        "upload": upload,
    }
)
