"""
The kinds of value a setting can have, as words and numbers; how each is written in TOML, and what it is parsed to.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from daemon.schema.kinds import Exactly, Matching, Number, Whole

# Numbers.
Flag = Annotated[bool, Exactly("true or false", bool)]
Positive = Annotated[int, Whole("a positive whole number", least=1)]
Count = Annotated[int, Whole("a whole number, 0 or more", least=0)]
Seconds = Annotated[float, Number("a positive number", above=0)]
SecondsOrOff = Annotated[float, Number("a positive number", least=0)]
Weight = Annotated[float, Number("a positive number", above=0)]
HoldSeconds = Annotated[
    float, Number("a number above 0 and below 5, because WeChat waits five seconds", above=0, below=5)
]
Temperature = Annotated[float, Number("a number from 0 to 2", least=0, most=2)]
Day = Annotated[date, Exactly("a date such as 2027-01-01", date)]

# Words.
Text = Annotated[str, Exactly("a string", str)]
Texts = dict[str, Text]
Name = Annotated[
    str, Matching("a name of 1 to 64 letters, digits, dots, hyphens or underscores", r"[A-Za-z0-9._-]{1,64}")
]
ModelName = Annotated[str, Matching("the name of a model", r"[!-~]{1,256}")]
ModelNameOrNone = Annotated[str, Matching("the name of a model", r"[!-~]{0,256}")]
Glob = Annotated[str, Matching('the name of a model or a pattern such as "gpt-*"', r"[!-~]{1,256}")]
Globs = tuple[Glob, ...]
DeniedPath = Annotated[str, Matching('a path such as "/v1/files/*"', r"/v1/[!-~]+")]
HeaderText = Annotated[str, Matching("a string without spaces", r"[!-~]{0,256}")]
AccountId = Annotated[str, Matching('an account id such as "gh_…"', r"gh_[A-Za-z0-9_]{1,61}")]
Openid = Annotated[str, Matching("an openid", r"[A-Za-z0-9_-]{1,64}")]
AppId = Annotated[str, Matching('an AppID such as "wx…"', r"(wx[A-Za-z0-9]{1,62})?")]
