"""How commands end that can't do what they are for.

Exit codes: 0 done; 1 the other side is not there or doesn't know; 2 used or configured wrongly;
3 done, and an objective is in danger.
"""

from typing import IO, Any

import click

GONE, WRONG, ALERTING = 1, 2, 3


class Failure(click.ClickException):
    """The command can't go on, or found what it should not."""

    exit_code = GONE

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it as all commands do."""
        click.echo(f"aggd: {self.message}", err=True)


class Unusable(Failure):
    """The command was given what it can't work with."""

    exit_code = WRONG
