"""Datagrams that are nearly right: vectors, cut up and put together again."""

from hypothesis import strategies as st

from tests.conformance.vectors import VECTORS

datagrams = st.sampled_from([v.datagram for v in VECTORS])
signs = st.sampled_from([bytes([c]) for c in b":|@#,;=[]\n\r\t \0+-.eE0_1cgms"])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One vector after a few cuts, copies, flips and splices."""
    data = draw(datagrams)
    for _ in range(draw(st.integers(1, 4))):
        a, b = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        kind = draw(st.sampled_from(["cut", "copy", "flip", "sign", "splice", "line"]))
        middle = {
            "cut": b"",
            "copy": data[a:b] * 2,
            "flip": bytes([draw(st.integers(0, 255))]) + data[a + 1 : b],
            "sign": data[a:b] + draw(signs),
            "splice": draw(datagrams),
            "line": data[a:b] + b"\n" + draw(datagrams),
        }[kind]
        data = (data[:a] + middle + data[b:])[:4000]
    return data
