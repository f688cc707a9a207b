"""
The kinds of value a setting can have, as words and numbers; how each is written in TOML, and what it is parsed to.

Rule 1: every kind says in words what it expects (`Expected`); errors and the reference quote those words.
Rule 2: a default is written as it would be in TOML and is parsed like any other value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, Strict, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Table(BaseModel):
    """A table of the config."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )


def written(default: object, *, example: str = "", **rules: Any) -> Any:
    """A field whose default is `default`, as TOML would have it; `example` is TOML text, for the example config."""
    return Field(default=default, examples=[example] if example else None, **rules)


@dataclass(frozen=True, slots=True)
class Expected:
    """Whatever is wrong with the value, the error says that these words were expected."""

    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._check, handler(source))

    def _check(self, value: object, handler: Callable[[object], object]) -> object:
        try:
            return handler(value)
        except ValidationError as error:
            own = (detail["msg"] for detail in error.errors(include_url=False) if detail["type"] == "expected")
            raise expected(next(own, self.words)) from None


def expected(words: str) -> PydanticCustomError:
    """For a check to raise that can say better what is wrong than its kind's `Expected`."""
    return PydanticCustomError("expected", "{words}", {"words": words})


# Numbers. TOML knows inf and nan; neither is a duration or a size.
Flag = Annotated[bool, Expected("true or false")]
Positive = Annotated[int, Field(gt=0), Expected("a positive whole number")]
Count = Annotated[int, Field(ge=0), Expected("a whole number, 0 or more")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), Expected("a positive number")]
SecondsOrOff = Annotated[float, Field(ge=0, allow_inf_nan=False), Expected("a positive number")]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False), Expected("a positive number")]
HoldSeconds = Annotated[
    float,
    Field(gt=0, lt=5, allow_inf_nan=False),
    Expected("a number above 0 and below 5, because WeChat waits five seconds"),
]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False), Expected("a number from 0 to 2")]
Day = Annotated[date, Expected("a date such as 2027-01-01")]

# Words.
Text = Annotated[str, Expected("a string")]
Texts = dict[str, Text]
Name = Annotated[
    str,
    Field(pattern=r"\A[A-Za-z0-9._-]{1,64}\z"),
    Expected("a name of 1 to 64 letters, digits, dots, hyphens or underscores"),
]
ModelName = Annotated[str, Field(pattern=r"\A[!-~]{1,256}\z"), Expected("the name of a model")]
ModelNameOrNone = Annotated[str, Field(pattern=r"\A[!-~]{0,256}\z"), Expected("the name of a model")]
Glob = Annotated[str, Field(pattern=r"\A[!-~]{1,256}\z"), Expected('the name of a model or a pattern such as "gpt-*"')]
Globs = Annotated[tuple[Glob, ...], Strict(False)]
DeniedPath = Annotated[str, Field(pattern=r"\A/v1/[!-~]+\z"), Expected('a path such as "/v1/files/*"')]
HeaderText = Annotated[str, Field(pattern=r"\A[!-~]{0,256}\z"), Expected("a string without spaces")]
AccountId = Annotated[str, Field(pattern=r"\Agh_[A-Za-z0-9_]{1,61}\z"), Expected('an account id such as "gh_…"')]
Openid = Annotated[str, Field(pattern=r"\A[A-Za-z0-9_-]{1,64}\z"), Expected("an openid")]
AppId = Annotated[str, Field(pattern=r"\A(wx[A-Za-z0-9]{1,62})?\z"), Expected('an AppID such as "wx…"')]
