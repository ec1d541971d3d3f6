"""Asking a daemon over HTTP, for commands: one question, one answer.

Every failure is an AnswerError: a sentence for people and the code to exit with.
(http.client, since urllib.request would mind http_proxy; imported late, as it is
most of what a command that asks has to load.)
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from aggd.errors import AnswerError

Answer = dict[str, Any]

ANSWER_SECONDS = 30.0  # a query over years of slots takes a second
PAGE = 1000  # series in one page of their list
UNKNOWN, WRONG = 1, 2  # exit codes: not there or not known; asked wrongly


class Question(NamedTuple):
    """What is asked: a path below ``/api/v1/``, its parameters, a key that its answer has."""

    path: tuple[str, ...]
    asked: Mapping[str, str]
    key: str
    posted: bool = False  # the parameters as a JSON body


class Reply(NamedTuple):
    """An answer, and the text it came as."""

    answer: Answer
    text: str


def ask(url: str, question: Question) -> Reply:
    """Ask one question of the aggd at `url`.

    Raises
    ------
    AnswerError
        With exit code 1 where nobody answers there, the name is unknown or it isn't
        aggd that answers; with 2 where the question is refused as wrong.
    """
    status, text = _request(url, question)
    try:
        answer = json.loads(text)
        if status == 200 and isinstance(answer, dict) and question.key in answer:
            return Reply(answer, text)
        message, code = str(answer["error"]["message"]), answer["error"]["code"]
    except (ValueError, TypeError, LookupError):
        raise AnswerError(
            f"{url} answered {status}, but not as aggd does; name aggd's address with --url"
        ) from None
    if code == "unknown_name":
        hint = "" if message.endswith("?") else "; see what there is with 'aggd series'"
        raise AnswerError(message + hint, UNKNOWN)
    raise AnswerError(f"{url}: {message}", WRONG if status in (400, 422) else UNKNOWN)


def pages(url: str, asked: Mapping[str, str], limit: int | None) -> Iterator[Answer]:
    """Every series that matches, up to `limit` of them, following the cursors of their list."""
    left, cursor = limit, ""
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        more = {"limit": str(size), **({"cursor": cursor} if cursor else {})}
        answer = ask(url, Question(("series",), {**asked, **more}, "series")).answer
        yield from answer["series"]
        left = None if left is None else left - size
        cursor = answer["cursor"]
        if not cursor:
            return


def _request(url: str, question: Question) -> tuple[int, str]:
    """Status and body of an answer."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from urllib.parse import quote, urlencode, urlsplit

    method, suffix, body = "GET", "", None
    headers = {"Accept": "application/json"}
    if question.posted:
        method, body = "POST", json.dumps(dict(question.asked))
        headers["Content-Type"] = "application/json"
    elif question.asked:
        suffix = "?" + urlencode(question.asked)
    try:
        base = urlsplit(url)
        path = "/".join(quote(part, safe="") for part in ("api", "v1", *question.path))
        connect = HTTPSConnection if base.scheme == "https" else HTTPConnection
        connection = connect(base.netloc, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, f"{base.path.rstrip('/')}/{path}{suffix}", body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise AnswerError(
            f"can't reach {url}: {why}; start it with 'aggd run', or name its address with --url"
        ) from None
