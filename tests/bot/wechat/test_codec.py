"""Bodies in and out: every form WeChat uses, and everything a stranger may send instead."""

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.wechat.codec import SUCCESS, BadPush, push_of, read, text_reply, written
from bot.wechat.pages import clean
from bot.wechat.push import Push

TEXT_XML = """<xml>
  <ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[o1]]></FromUserName>
  <CreateTime>1714112445</CreateTime><MsgType><![CDATA[text]]></MsgType>
  <Content><![CDATA[ 你好 <b>&amp; ]]></Content><MsgId>25033203329280739</MsgId>
</xml>""".encode()
TEXT_JSON = (
    '{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":1714112445,"MsgType":"text",'
    '"Content":" 你好 <b>&amp; ","MsgId":25033203329280739}'
).encode()
BASE = {"ToUserName": "gh_1", "FromUserName": "o1", "CreateTime": "1714112445"}


def asking(form: str) -> Push:
    return Push(account="gh_1", openid="o1", push_id="1", kind="text", form=form)


@pytest.mark.parametrize(("body", "form"), [(TEXT_XML, "xml"), (TEXT_JSON, "json")])
def test_both_forms_of_a_text_are_the_same_push(body, form):
    assert push_of(*read(body)) == Push(
        account="gh_1",
        openid="o1",
        push_id="25033203329280739",
        kind="text",
        text="你好 <b>&amp;",
        created_at=1714112445,
        form=form,
    )


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"<xml/>", {}),
        (b"<xml><a/><b></b></xml>", {"a": "", "b": ""}),
        (b"\xef\xbb\xbf<xml><a>1</a></xml>", {"a": "1"}),
        (b"\r\n <?xml version='1.0' encoding='gbk'?><xml><a>\xe4\xbd\xa0</a></xml>", {"a": "你"}),
        (b"<xml><a>x &lt;&#38; y<!-- no --> z</a></xml>", {"a": "x <& y z"}),
        (b"<xml><a><![CDATA[x]]]]><![CDATA[>y]]></a></xml>", {"a": "x]]>y"}),
        (b"<xml><a>\x1dx\x00\x08y\xef\xbf\xbf</a></xml>", {"a": "xy"}),
        (b"<xml><a>1</a><a>2</a></xml>", {"a": "2"}),
        (b"<xml><S><T>qr</T></S><b>1</b></xml>", {"S.T": "qr", "b": "1"}),
        (b"<xml><S><P><i><m>x</m></i></P><C>1</C></S></xml>", {"S.C": "1"}),
        (b"{}", {}),
        (b' {"a": 25033203329280739, "b": 1.50, "c": -1e3}', {"a": "25033203329280739", "b": "1.50", "c": "-1e3"}),
        (b'{"a": true, "b": null, "c": ""}', {"a": "true", "b": "", "c": ""}),
        (b'{"a": "x\x1d\ny\\u0001\\ud800\\ud83d\\ude42"}', {"a": "x\ny🙂"}),
        (b'{"S": {"T": "qr", "L": [{"m": "x"}]}, "L": ["x"]}', {"S.T": "qr", "L.item": "x"}),
        (b'{"a": 1, "a": 2}', {"a": "2"}),
        (b'{"action":"CheckContainerPath"}', {"action": "CheckContainerPath"}),
    ],
)  # fmt: skip
def test_fields_are_read(body, fields):
    assert read(body)[0] == fields


LOL = b'<!DOCTYPE xml [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><xml><a>&b;</a></xml>'
XXE = b'<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><a>&a;</a></xml>'


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no element found"),
        (b"SECRET", "syntax error"),
        (b"<xml><a>SECRET</xml>", "mismatched tag"),
        (b"<xml>SECRET", "no element found"),
        (b"<xml/>SECRET", "junk after document"),
        (b"<xml>&SECRET;</xml>", "undefined entity"),
        (b"<xml><a>&#29;</a></xml>", "reference to invalid character"),
        (LOL, "DOCTYPE"),
        (XXE, "DOCTYPE"),
        (b"<!DOCTYPE SECRET><xml/>", "DOCTYPE"),
        (b"<?php SECRET?><xml/>", "processing instruction"),
        (b'<xml a="SECRET"/>', "attributes"),
        ("<xml><a>\u4f60</a></xml>".encode("gbk"), "not UTF-8"),
        ("<xml><a>\u4f60</a></xml>".encode("utf-16"), "not UTF-8"),
        (b"<xml>\xed\xa0\x80</xml>", "not UTF-8"),
        (b"<a>" * 60000, "nested too deeply"),
        (b"<xml>" + b"".join(b"<f%d/>" % n for n in range(65)) + b"</xml>", "more than 64 fields"),
        (b'{"a": "SECRET"', "malformed"),
        (b'{"a": SECRET}', "malformed"),
        (b'{"a": NaN}', "NaN"),
        (b'["SECRET"]', "malformed"),
        (b'{"a": ' + b"[" * 60000, "nested too deeply"),
        (b'{"a": ' + b"[" * 20 + b'"x"' + b"]" * 20 + b"}", "nested too deeply"),
        (json.dumps({f"f{n}": "" for n in range(65)}).encode(), "more than 64 fields"),
    ],
)
def test_a_bad_body_is_refused_in_words_that_do_not_quote_it(body, says):
    with pytest.raises(BadPush, match=says) as caught:
        read(body)

    assert "SECRET" not in str(caught.value)


@given(st.one_of(st.binary(), st.text(alphabet='<>/xml ab&;![]CDAT"{}:,0\x00\n').map(str.encode)))
def test_any_bytes_are_fields_or_a_bad_push(body):
    try:
        fields, form = read(body)
    except BadPush:
        return
    assert form in ("xml", "json")
    assert all(clean(value) == value for value in fields.values())


@pytest.mark.parametrize("missing", ["ToUserName", "FromUserName"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_push_from_nobody_or_to_nobody_is_bad(missing, value):
    fields = {**BASE, missing: value} if value is not None else {k: v for k, v in BASE.items() if k != missing}

    with pytest.raises(BadPush, match="missing"):
        push_of(fields, "xml")


def test_a_push_that_says_nothing_else_is_still_one():
    push = push_of({"ToUserName": "gh_1", "FromUserName": "o1"}, "xml")

    assert (push.kind, push.text, push.event, push.created_at) == ("", "", "", 0)
    assert push.push_id


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"MsgType": "event", "Event": "SCAN", "EventKey": "12"}, {"kind": "event", "event": "scan", "event_key": "12"}),
        ({"MsgType": "TEXT", "Content": "\n继续 ", "bizmsgmenuid": "q1"}, {"text": "继续", "tapped_id": "q1"}),
        ({"MsgType": "image", "PicUrl": "http://p", "MsgId": "9"}, {"push_id": "9", "fields": {"PicUrl": "http://p"}}),
        ({"MsgType": "location", "Label": "上海"}, {"kind": "location", "fields": {"Label": "上海"}}),
    ],
)  # fmt: skip
def test_each_field_has_its_place(fields, expected):
    push = push_of({**BASE, **fields}, "xml")

    assert {name: getattr(push, name) for name in expected} == expected


@pytest.mark.parametrize(
    "different",
    [{"CreateTime": "1714112446"}, {"Event": "unsubscribe"}, {"EventKey": "2"}],
)
def test_events_are_told_apart_by_time_event_and_key(different):
    event = {**BASE, "MsgType": "event", "Event": "subscribe", "EventKey": "1", "MsgId": "7"}

    assert push_of(event, "xml").push_id == push_of({**event, "Ticket": "t"}, "xml").push_id
    assert push_of(event, "xml").push_id != push_of({**event, **different}, "xml").push_id


@pytest.mark.parametrize("different", [{"CreateTime": "1714112446"}, {"MsgType": "voice"}, {"Content": "b"}])
def test_messages_without_an_id_are_told_apart_by_all_they_say(different):
    message = {**BASE, "MsgType": "text", "Content": "a"}

    assert push_of(message, "xml").push_id == push_of(dict(message), "xml").push_id
    assert push_of(message, "xml").push_id != push_of({**message, **different}, "xml").push_id


@given(
    st.dictionaries(
        st.sampled_from(["CreateTime", "MsgType", "MsgId", "Content", "Event", "EventKey", "bizmsgmenuid", "X"]),
        st.one_of(st.text(), st.sampled_from(["9" * 60000, "１７", "event", "-5", "1e9"])),
    )
)
def test_no_field_but_the_two_names_can_be_wrong(fields):
    push = push_of({**fields, "ToUserName": "gh_1", "FromUserName": "o1"}, "json")

    assert 0 < len(push.push_id) <= 200
    assert push.created_at >= 0


def test_a_reply_goes_back_the_way_the_push_came():
    reply = ElementTree.fromstring(text_reply(asking("xml"), "好", now=1714112446))

    assert {field.tag: field.text for field in reply} == {
        "ToUserName": "o1",
        "FromUserName": "gh_1",
        "CreateTime": "1714112446",
        "MsgType": "text",
        "Content": "好",
    }


def test_a_json_reply_has_its_characters_as_they_are_and_a_number_for_the_time():
    reply = text_reply(asking("json"), '好"', now=1714112446)

    assert "好".encode() in reply  # WeChat shows \uxxxx as it stands
    assert json.loads(reply)["CreateTime"] == 1714112446


INJECTION = "x]]></Content><MsgType>image</MsgType><Content><![CDATA["


@given(st.one_of(st.text(), st.text(alphabet="]>[<!CDATA&\x08\ud800\r\n"), st.just(INJECTION)))
def test_any_words_survive_a_strict_parser(words):
    fields = {field.tag: field.text or "" for field in ElementTree.fromstring(text_reply(asking("xml"), words, now=1))}

    assert fields["Content"] == clean(words)
    assert fields["MsgType"] == "text"
    assert len(fields) == 5
    assert json.loads(text_reply(asking("json"), words, now=1))["Content"] == clean(words)


@given(value=st.text(), form=st.sampled_from(["xml", "json"]))
def test_what_is_written_is_read_again(value, form):
    assert read(written({"A": value, "B": 7}, form)) == ({"A": clean(value), "B": "7"}, form)


def test_success_is_the_bare_word():
    assert SUCCESS == b"success"


NAME = st.sampled_from(["A", "B", "Content", "xml", "A1", "é"])
VALUE = st.one_of(
    st.from_regex(r"[0-9 ]{0,4}", fullmatch=True),
    st.text(alphabet="a<>&]你\n\r\t\x08\ufffe \u3000", max_size=6).map(lambda text: f"<![CDATA[{text}]]>"),
    st.sampled_from(["<C>1</C>", "&amp;", "<![CDATA[a]]><![CDATA[b]]>", "<!-- 1 -->1", "<![CDATA[a]]"]),
)
SPACE = st.sampled_from(["", "", "", "\n", " ", "\r\n", "\t", "\u3000", "<!-- -->"])


@given(st.lists(st.tuples(NAME, VALUE, NAME, SPACE, st.integers(0, 9)), max_size=4), SPACE, SPACE)
def test_fields_in_a_row_are_read_as_any_xml_parser_reads_them(rows, before, after):
    fields = "".join(
        f"<{name}>{value}</{other if odd == 0 else name}>{space}" for name, value, other, space, odd in rows
    )
    body = f"<xml>{before}{fields}</xml>{after}"
    try:
        root = ElementTree.fromstring(clean(body))
    except ElementTree.ParseError:
        with pytest.raises(BadPush):
            read(body.encode())
        return
    leaves = {child.tag: child.text or "" for child in root if not len(child)}
    nested = {f"{child.tag}.{inner.tag}": inner.text or "" for child in root for inner in child}
    assert read(body.encode())[0] == {**leaves, **nested}
