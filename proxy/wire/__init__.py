"""Connections to upstreams: HTTP/1.1 read strictly, and passed on as it came. Nothing here decides about a request."""
