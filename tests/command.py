"""The command ``aggd`` asking a server whose clock stands still."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from click.testing import CliRunner, Result

from aggd.cli import main
from tests.http.server import Past, serving

DAY = 86400


def past() -> Past:
    """A slow and a fast host now, both fast a day ago; a counter, a gauge, a set."""
    found = Past()
    for minute in range(60):
        if minute in (20, 21):  # nothing was sent
            continue
        slow = [f"api.latency:{100 + 5 * minute + i}|ms|#env:prod,host:a" for i in range(4)]
        fast = [f"api.latency:{20 + minute % 3 + i}|ms|#env:prod,host:b" for i in range(4)]
        others = "api.requests:3|c", f"queue.depth:{minute}|g", f"users:u{minute}|s"
        found.send(*slow, *fast, *others, age=60 * minute)
        calm = [line.replace("host:b", "host:a") for line in fast]
        found.send(*calm, *fast, age=DAY + 60 * minute)
    return found


class Command:
    """Runs ``aggd`` beside one server."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def run(self, *words: str, **env: str) -> Result:
        """What came of a command, whatever the exit code."""
        invoke = CliRunner().invoke
        return await asyncio.to_thread(invoke, main, [*words, "--url", self.url], env=env)

    async def text(self, *words: str, code: int = 0, **env: str) -> str:
        """What a command printed that must end with `code`."""
        result = await self.run(*words, **env)
        assert result.exit_code == code, result.output
        return result.stdout

    async def lines(self, *words: str, code: int = 0) -> list[str]:
        """The same as lines."""
        return (await self.text(*words, code=code)).splitlines()

    async def refused(self, *words: str, code: int) -> str:
        """What a command complained of that printed nothing else."""
        result = await self.run(*words)
        assert (result.exit_code, result.stdout) == (code, "")
        return result.stderr


@asynccontextmanager
async def commanding(about: Past) -> AsyncIterator[Command]:
    """A server of some past, and the command beside it."""
    async with serving(about) as client:
        yield Command(client.base)
