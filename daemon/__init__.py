"""The roof: configuration, databases, logs, signals, pages, and the wiring of `proxy` and `bot`."""
