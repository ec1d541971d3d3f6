from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aggd.datagrams import pack


@given(
    st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b""))), st.integers(1, 99)
)
def test_packing_keeps_every_line_and_fills_no_datagram_over_its_size(lines, size):
    got = list(pack(lines, size))
    assert [x for d in got for x in d.split(b"\n")] == [x.strip() for x in lines if x.strip()]
    assert all(len(datagram) <= size or b"\n" not in datagram for datagram in got)
    for one, following in pairwise(got):
        assert len(one) + 1 + len(following.split(b"\n")[0]) > size
