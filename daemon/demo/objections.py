"""
What today's models do not take, in each API's own words. Pure.

Rule: `max_tokens` and a temperature of one's own are refused in chat and in responses, a picture's `response_format` by
gpt-image. Of what they refuse all name the parameter, but the responses API gives no code beside its temperature.

Source of the words: vercel/ai 6102 (images), OpenHands/software-agent-sdk 1837 (responses).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemon.demo.dialects import FIELD, Dialect, error, is_gpt_image


def objection(dialect: Dialect, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The error of a 400 where the request is not one that today's models take, else None."""
    if not body.get("model"):
        return error("you must provide a model parameter")
    if dialect is Dialect.IMAGE:
        return _image_objection(body)
    if body.get(FIELD[dialect]) is None:
        field = FIELD[dialect]
        return error(f"Missing required parameter: '{field}'.", param=field, code="missing_required_parameter")
    if dialect is Dialect.RESPONSE:
        return _response_objection(body)
    if dialect is not Dialect.CHAT:
        return None
    if "max_tokens" in body:
        return error(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    temperature = body.get("temperature", 1)
    if temperature != 1:
        return error(
            f"Unsupported value: 'temperature' does not support {temperature} with this model. "
            "Only the default (1) value is supported.",
            param="temperature",
            code="unsupported_value",
        )
    return None


def _image_objection(body: Mapping[str, Any]) -> dict[str, Any] | None:
    if "response_format" in body and is_gpt_image(str(body["model"])):
        return error("Unknown parameter: 'response_format'.", param="response_format", code="unknown_parameter")
    return None


def _response_objection(body: Mapping[str, Any]) -> dict[str, Any] | None:
    if "max_tokens" in body:
        return error(
            "Unsupported parameter: 'max_tokens'. In the Responses API, this parameter has moved to 'max_output_tokens'.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    if "temperature" in body:
        return error("Unsupported parameter: 'temperature' is not supported with this model.", param="temperature")
    if "include_usage" in (body.get("stream_options") or {}):
        name = "stream_options.include_usage"
        return error(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    return None
