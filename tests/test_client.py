import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from aggd.client import Question, ask
from aggd.errors import AnswerError

STATS = Question(("stats", "x"), {}, "name")


@pytest.fixture
def server():
    """Something else that speaks HTTP: it gives one answer and remembers what it was asked."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length", 0))
            self.server.asked.append((self.command, self.path, self.rfile.read(length)))
            status, body = self.server.answer
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as http:
        http.asked, http.answer = [], (200, {"name": "x"})
        http.url = f"http://127.0.0.1:{http.server_port}"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield http
        http.shutdown()
        thread.join()


def test_a_question_is_asked_as_the_interface_has_it(server):
    asked = {"last": "15m", "tags": "env:prod,region:eu", "from": "2026-11-24T02:00:00+01:00"}
    question = Question(("stats", "api/late ncy?"), asked, "name")
    ask(f"{server.url}/proxied/", question)
    ask(server.url, question._replace(path=("aggregate",), posted=True))
    (get, path, nothing), (post, bare, body) = server.asked
    assert (get, nothing, post) == ("GET", b"", "POST")
    assert urlsplit(path).path == "/proxied/api/v1/stats/api%2Flate%20ncy%3F"
    assert parse_qs(urlsplit(path).query) == {key: [text] for key, text in asked.items()}
    assert bare == "/api/v1/aggregate"
    assert json.loads(body) == asked


def test_an_answer_keeps_the_text_it_came_as(server):
    server.answer = 200, b'{ "name":  "x" }'
    assert ask(server.url, STATS) == ({"name": "x"}, '{ "name":  "x" }')


def error(code, message):
    return {"error": {"code": code, "message": message, "field": "name"}}


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        ((404, error("unknown_name", "no 'x'")), 1, "no 'x'; see what there is with 'aggd series'"),
        ((404, error("unknown_name", "no 'x'; or 'y'?")), 1, "no 'x'; or 'y'?"),
        ((404, error("not_found", "there is no '/x'")), 1, "{}: there is no '/x'"),
        ((400, error("bad_last", "got 'soon'")), 2, "{}: got 'soon'"),
        ((422, error("not_answerable", "a set")), 2, "{}: a set"),
        ((503, error("busy", "later")), 1, "{}: later"),
        ((404, b"<html>not here</html>"), 1, "{} answered 404, but not as aggd does; name aggd's"),
        ((200, {"hello": "world"}), 1, "{} answered 200, but not as aggd does"),
        ((200, ["name"]), 1, "{} answered 200, but not as aggd does"),
        ((200, b'"name"'), 1, "{} answered 200, but not as aggd does"),
        ((500, {"error": "name"}), 1, "{} answered 500, but not as aggd does"),
    ],
)
def test_an_answer_that_is_none_says_what_to_do(server, answer, code, message):
    server.answer = answer
    with pytest.raises(AnswerError) as caught:
        ask(server.url, STATS)
    assert caught.value.code == code
    assert caught.value.message.startswith(message.format(server.url))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:0",
        "http://[::1",
        "http://127.0.0.1:port",
        "https://127.0.0.1:0",
        "http://a b",
    ],
)
def test_a_daemon_that_is_out_of_reach_says_what_to_do(url):
    with pytest.raises(AnswerError) as caught:
        ask(url, STATS)
    assert caught.value.code == 1
    assert caught.value.message.startswith(f"can't reach {url}: ")
    assert "start it with 'aggd run', or name its address with --url" in caught.value.message
