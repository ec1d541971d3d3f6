"""A client of a running application."""

import pytest_asyncio

from tests.http.server import serving


@pytest_asyncio.fixture
async def client():
    async with serving() as running:
        yield running
