"""The real command streams what it receives, and ends its streams when it stops."""

import json
import socket

from tests.daemon import DEADLINE, eventually


def test_a_stream_shows_what_arrives_until_the_daemon_stops(daemon):
    host, port = daemon.http.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), DEADLINE) as sock, sock.makefile("rb") as read:
        sock.sendall(b"GET /api/v1/live?match=api.*&last=1m HTTP/1.1\r\nHost: aggd\r\n\r\n")
        assert read.readline() == b"HTTP/1.1 200 OK\r\n"
        eventually(lambda: daemon.figure("aggd_live_listeners") == 1)
        daemon.send(b"api.t:1|ms\napi.t:3|ms|@0.5\ndb.t:7|ms")
        ids, count = [], 0
        while count < 3:
            line = read.readline()
            if line.startswith(b"id: "):
                ids.append(int(line[4:]))
            elif line.startswith(b"data: "):
                series = json.loads(line[6:])["series"]
                count = sum(found["count"] for found in series)
        assert [found["name"] for found in series] == ["api.t"]
        assert (series[0]["min"], series[0]["max"]) == (1, 3)
        assert ids == sorted(set(ids))
        assert daemon.stop()[0] == 0
        assert read.read().endswith(b"\r\n0\r\n\r\n")
