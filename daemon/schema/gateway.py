"""The settings of the gateway: upstreams, keys, names of models, callers."""

from typing import Literal

from daemon.schema.places import BaseUrl, SourceAddress
from daemon.schema.secrets import ApiKey, TokenDigest
from daemon.schema.table import Table, required, written
from daemon.schema.values import (
    Count,
    Day,
    DeniedPath,
    Flag,
    Globs,
    HeaderText,
    ModelName,
    Name,
    Positive,
    Seconds,
    SecondsOrOff,
    Texts,
    Weight,
)

OPENAI = "https://api.openai.com/v1"


class Upstream(Table):
    """Where keys are used; the name after the dot is yours. Requests without a model go to the first."""

    base_url: BaseUrl = required(example=f'"{OPENAI}"')
    """What takes the place of /v1; https, or plain http to this machine. The upstream openai has OpenAI's."""
    auth: Literal["bearer", "api-key"] = "bearer"
    """How a key is sent: "bearer" (Authorization) or "api-key" (Azure's header)."""
    connect_seconds: Seconds = 10
    """The time a connection may take, in seconds."""
    first_byte_seconds: Seconds = 600
    """The time until the answer begins, in seconds; thinking models need minutes."""
    idle_seconds: Seconds = 300
    """The longest pause within an answer, in seconds."""
    source_address: SourceAddress = ""
    """The address of this server that connections go out from; "" = the system's choice."""
    query: Texts = written({})
    """What is added to every URL, for Azure { "api-version" = "…" }."""


class Key(Table):
    """One table for each key. Use keys of your own organizations: limits belong to organizations, not to keys."""

    name: Name = required(example='"main"')
    """What the page, the log and the metrics call it."""
    secret: ApiKey = required(example='{ env = "OPENAI_API_KEY" }')
    """The API key itself, a secret."""
    upstream: Name = "openai"
    """The upstream that it is for."""
    uses: tuple[Literal["proxy", "bot"], ...] = written(["proxy", "bot"], least=1)
    """Who may use it: "proxy" (callers of the gateway), "bot" (subscribers), or both."""
    weight: Weight = 1
    """Its share of the work among equals: twice the weight, twice the requests."""
    tier: Count = 0
    """The lowest tier is used first; the next only when no key of it can serve."""
    max_concurrency: Count = 0
    """Requests at once; 0 = no limit."""
    models: Globs = written(["*"])
    """The models it may be used for: names, or patterns such as "gpt-*"."""
    cooldown_seconds: SecondsOrOff = 0
    """How long it rests after a 429 that does not say how long, in seconds; 0 = what the upstream says."""
    organization: HeaderText = ""
    """Sent as OpenAI-Organization, with this key only."""
    project: HeaderText = ""
    """Sent as OpenAI-Project, with this key only."""


class Alias(Table):
    """A name that callers use for a model, and the model it stands for."""

    use: ModelName = required(example='"gpt-5-mini"')
    """The name that is sent upstream instead."""
    as_: Literal["chat"] | None = written(None, alias="as", example='"chat"')
    """"chat" translates legacy completions to chat and back; without it the name alone changes."""


class Caller(Table):
    """Who may use the gateway, one table for each. Without any, /v1 answers 401."""

    name: Name = required(example='"laptop"')
    """What the page, the log and the metrics call it."""
    token: TokenDigest = required(example='"sha256:' + "0" * 64 + '"')
    """Its token: the hash that `posthouse token NAME` prints, or a secret."""
    models: Globs = written(["*"])
    """The models it may use: names, or patterns such as "gpt-*"."""
    requests_per_minute: Count = 0
    """Requests a minute; 0 = no limit."""
    tokens_per_day: Count = 0
    """Tokens a day; 0 = no limit."""
    max_concurrency: Count = 0
    """Requests at once; 0 = no limit."""
    expires: Day | None = written(None, example="2027-01-01")
    """The first day on which the token is refused; without it, it never expires."""
    see_all: Flag = False
    """Whether it may list and read what other callers made (files, batches, stored responses)."""


class Proxy(Table):
    """The gateway at /v1."""

    passthrough: Flag = False
    """Whether an unknown token goes upstream as it came, as a plain reverse proxy would send it."""
    replay_bytes: Count = 8388608
    """The largest body kept so that it can be sent again with another key, in bytes."""
    max_body_bytes: Positive = 536870912
    """The largest body taken at all, in bytes."""
    queue_seconds: SecondsOrOff = 8
    """How long a request waits in line for a key that is soon back, in seconds."""
    deny: tuple[DeniedPath, ...] = written(["/v1/organization/*", "/v1/projects/*", "/v1/dashboard/*"])
    """Paths that are refused with 403: the upstream's administration."""
    callers: tuple[Caller, ...] = ()
