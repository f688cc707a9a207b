from __future__ import annotations

from typing import Any

import pytest
from aiohttp import TCPConnector

from tests.daemon.operator.house import Visit, Visitor, build


@pytest.fixture
def visit(aiohttp_client: Any) -> Visit:
    """A visitor with their own cookies, before a house built with the given changes."""

    async def visit(**changes: Any) -> Visitor:
        house = build(**changes)
        return Visitor(house, await aiohttp_client(house.app, connector=TCPConnector(limit=0)))

    return visit
