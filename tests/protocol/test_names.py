"""Names and tags: what is cleaned away, and five dialects that mean the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.errors import ProtocolError
from aggd.protocol.names import clean, identity, normal_tags

NAMES = [
    ("b ar", "b_ar"),
    ("foo  bar", "foo_bar"),
    (" \t a \r\v\f b", "_a_b"),
    ("a\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}b", "a_b"),
    ("a\N{BYTE ORDER MARK}b", "a_b"),
    ("fo/o", "fo-o"),
    ("../../etc/passwd", "..-..-etc-passwd"),
    ("foo+bar", "foobar"),
    ("a\\b", "ab"),
    ('a"b<c>', "abc"),
    ("a{b}", "ab"),
    ("a%2Fb", "a2Fb"),
    ("=cmd()", "=cmd"),
    ("a.", "a."),
    ("..a", "..a"),
    ("CamelCase", "CamelCase"),
    ("__class__.__init__", "__class__.__init__"),
    ("订单.数量", "订单.数量"),
    ("café", "café"),
    ("a.🚀", "a.🚀"),
    ("a\N{SOFT HYPHEN}b", "ab"),
    ("a\N{RIGHT-TO-LEFT OVERRIDE}b", "ab"),
    ("a\N{ZERO WIDTH SPACE}b", "ab"),
    ("a\x1bb\x7fc\x85d\0", "abcd"),
    ("a\ue000\U000e0fffb", "ab"),
    ("a\ufffdb", "ab"),
    ("", ""),
    ("$%^", ""),
]

HEADS = [
    (b"a,k=v", "a", ("k:v",)),
    (b"a#k=v,l=w", "a", ("k:v", "l:w")),
    (b"a;k=v;l=w", "a", ("k:v", "l:w")),
    (b"na[k=v,l=w]me", "name", ("k:v", "l:w")),
    (b"a[]", "a", ()),
    (b"a, k = v ,,", "a", ("k:v",)),
    (b"a,k=v=w", "a", ("k:v=w",)),
    (b"a,k=1,k=2", "a", ("k:2",)),
    (b"a;k=1,2", "a", ("k:1,2",)),
    (b"a,k=1;l=2", "a", ("k:1;l=2",)),
    (b"a#k=1;l=2,m=3", "a", ("k:1;l=2", "m:3")),
    (b"a[k=v];l=w", "al=w", ("k:v",)),
    (b"smp,gge$", "smpgge", ()),
    (b"a#b", "ab", ()),
    (b"a=b", "a=b", ()),
    (b"a=b,c", "a=bc", ()),
    (b"a,k=\xff", "a", ("k:\ufffd",)),
]

BAD_HEADS = [
    (b"a,k=v,bare", "a", ("k:v",)),
    (b"a;k=", "a", ()),
    (b"a;=v", "a", ()),
    (b"a[bare]", "a", ()),
    (b"a[b", "ab", ()),
    (b"a]b", "ab", ()),
    (b"a]b[c=d", "abc=d", ()),
]

SECTIONS = [
    (b"k:v", ("k:v",)),
    (b"k:v,bare,l:w", ("bare", "k:v", "l:w")),
    (b"k=v", ("k:v",)),
    (b"k:a=b", ("k:a=b",)),
    (b"k=a:b", ("k=a:b",)),
    (b"url:http://h:8125/x?y=z#@[{", ("url:http://h:8125/x?y=z#@[{",)),
    (b"k:a b ", ("k:a b",)),
    (b"#k:v,#l:w", ("k:v", "l:w")),
    (b"color:#fff", ("color:#fff",)),
    (b"k:", ("k",)),
    (b"k:v,k:v", ("k:v",)),
    (b"k:1,k:2", ("k:1", "k:2")),
    (b"k,k:", ("k",)),
    (b"", ()),
    (b",,#, ,", ()),
    (b"k:\xff\xfe", ("k:\ufffd\ufffd",)),
    ("ville:Orléans,tag:T0µ".encode(), ("tag:T0µ", "ville:Orléans")),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_names_are_cleaned_as_statsd_does_but_letters_of_all_scripts_stay(name, expected):
    assert clean(name.encode()) == expected


@pytest.mark.parametrize("name", [b"a\xffb", b"a\xc0\xafb", b"a\xed\xa0\x80b", b"a\xe2\x82b"])
def test_bytes_that_are_no_utf8_are_dropped_from_a_name(name):
    assert clean(name) == clean(name, sanitize=False) == "ab"


@pytest.mark.parametrize(
    ("name", "kept"), [("a b/c+d", "a b/c+d"), ("a\0\x1f\x7f\x9fb", "ab"), ("a\u202eb", "a\u202eb")]
)
def test_without_cleaning_only_control_characters_go(name, kept):
    assert clean(name.encode(), sanitize=False) == kept


@pytest.mark.parametrize(("head", "name", "tags"), HEADS)
def test_heads_that_name_a_series(head, name, tags):
    assert identity(head, None) == (name, tags, ())


@pytest.mark.parametrize(("head", "name", "tags"), BAD_HEADS)
def test_heads_with_a_bad_tag_lose_it_and_say_so(head, name, tags):
    assert identity(head, None) == (name, tags, ("bad_tag",))


@pytest.mark.parametrize("head", [b"", b"$%^", b"\xff", b";k=v", b"[k=v]", b"#k=v", b",k=v"])
def test_a_head_of_which_no_name_is_left_is_refused(head):
    for tags in (None, b"k:v"):
        with pytest.raises(ProtocolError, match="no name is left") as caught:
            identity(head, tags)
        assert caught.value.reason == "empty_name"


@pytest.mark.parametrize(("section", "tags"), SECTIONS)
def test_tag_sections_have_a_normal_form(section, tags):
    assert normal_tags(section) == (tags, True)
    assert identity(b"a", section) == ("a", tags, ())


@pytest.mark.parametrize("section", [b":v", b"=v", b"#:v", b"#=v", b":"])
def test_a_tag_without_a_key_is_dropped_with_a_warning(section):
    assert normal_tags(section + b",k:v") == (("k:v",), False)
    assert identity(b"a", section + b",k:v") == ("a", ("k:v",), ("bad_tag",))


def test_several_faults_are_one_warning():
    assert identity(b"a;b;=c", b":v,:w").warnings == ("bad_tag",)


def test_of_one_key_the_tag_section_wins_over_the_name_with_all_its_values():
    assert identity(b"a,k=1,l=1", b"k:2,k:3").tags == ("k:2", "k:3", "l:1")


text = st.text("ab01é_.-", min_size=1, max_size=5)
pairs = st.dictionaries(text, text, min_size=1, max_size=5).map(dict.items).map(list)
BRACKETS = "a[{}]", "=", ","
DIALECTS = [BRACKETS, ("a#{}", "=", ","), ("a,{}", "=", ","), ("a;{}", "=", ";")]


@given(pairs)
def test_all_dialects_name_the_same_series(found):
    section = ",".join(f"{k}:{v}" for k, v in found).encode()
    expected = identity(b"a", section)
    for head, equals, comma in DIALECTS:
        tags = comma.join(f"{k}{equals}{v}" for k, v in found)
        assert identity(head.format(tags).encode(), None) == expected


@given(st.data(), st.lists(st.binary(max_size=6).filter(lambda tag: b"," not in tag)))
def test_the_order_of_tags_does_not_matter(data, items):
    other = data.draw(st.permutations(items))
    assert identity(b"a", b",".join(items)) == identity(b"a", b",".join(other))


@given(st.data(), pairs)
def test_the_order_of_tags_in_a_name_does_not_matter(data, found):
    other = data.draw(st.permutations(found))
    for head, equals, comma in DIALECTS:
        one, two = (comma.join(f"{k}{equals}{v}" for k, v in tags) for tags in (found, other))
        assert identity(head.format(one).encode(), None) == identity(
            head.format(two).encode(), None
        )


@given(st.binary(max_size=40))
def test_tags_are_sorted_by_their_bytes_and_unique(section):
    tags, _ = normal_tags(section)
    assert [tag.encode() for tag in tags] == sorted({tag.encode() for tag in tags})


@given(st.binary(max_size=30) | st.text(max_size=20).map(str.encode), st.booleans())
def test_a_clean_name_is_clean(name, sanitize):
    cleaned = clean(name, sanitize)
    assert clean(cleaned.encode(), sanitize) == cleaned
    assert not sanitize or cleaned.isprintable()
