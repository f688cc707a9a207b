"""The settings of the machine's side: where it listens, what strangers may cost, who sees the page."""

from daemon.schema.places import Database, Listen, Network, OptionalFile, PublicUrl, Webhook, Zone
from daemon.schema.secrets import Password
from daemon.schema.table import Table, written
from daemon.schema.values import Count, Flag, Positive, Seconds


class Limits(Table):
    """What strangers may cost."""

    head_bytes: Positive = 16384
    """The largest head of a request (request line and headers), in bytes."""
    head_seconds: Seconds = 10
    """The time a request's head may take to arrive, in seconds."""
    body_idle_seconds: Seconds = 60
    """The longest pause while a body arrives, in seconds."""
    connections: Positive = 4000
    """Open connections at once."""
    connections_per_address: Positive = 256
    """The same for one address; not for this machine, trusted proxies, and account paths once verified."""
    memory_bytes: Count = 0
    """Resident memory above which new requests get 503, in bytes; 0 = 80 % of the machine's or the unit's."""


class Server(Table):
    """Where the daemon listens, and where it keeps what it knows."""

    listen: tuple[Listen, ...] = written(["0.0.0.0:8080"], least=1)
    """Where it listens: "host:port", "[::]:80" or "unix:/run/posthouse/http.sock". Sockets of systemd go first."""
    public_url: PublicUrl = ""
    """What links in answers to subscribers begin with, such as "https://bot.example.org"."""
    trusted_proxies: tuple[Network, ...] = ()
    """Networks of reverse proxies whose X-Forwarded-For is believed, such as "127.0.0.0/8"."""
    tls_certificate: OptionalFile = written("")
    """A PEM file with the certificate and its chain, for https on every port but 80; read again when it changes."""
    tls_key: OptionalFile = written("")
    """A PEM file with the certificate's key, without a passphrase; read again when it changes."""
    database: Database = written("sqlite:posthouse.db")
    """The database; a relative name begins at $STATE_DIRECTORY or, without one, at this file's folder."""
    timezone: Zone = written("Asia/Shanghai")
    """The time zone whose days count, for quotas and for the `expires` of callers."""
    fast_lane: Flag = True
    """Whether plain requests to the gateway, and plain pushes, take the short way in."""
    limits: Limits = written({})


class Operator(Table):
    """The status page at /status."""

    password: Password = written("", example='{ env = "POSTHOUSE_PASSWORD" }')
    """The password of the status page and of /metrics, a secret; without one both answer 404."""
    show_words: Flag = True
    """Whether the page shows the first 20 characters of questions to whoever is signed in."""


class Alerts(Table):
    """News for whoever is on duty, as JSON of our own, or as the robots of chat tools take it (docs/alerts.md)."""

    webhook: Webhook = written("")
    """Where to POST when a key falls, no key is usable, or an upstream goes down, and when they are back; a secret."""
