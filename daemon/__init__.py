"""The roof: configuration, databases, logs, signals, pages, and the wiring of `proxy` and `bot`."""

__version__ = "0.1.0"
