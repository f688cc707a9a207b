"""The demo as its own tests serve it, for the browser too."""

from tests.daemon.demo.conftest import *  # noqa: F403
