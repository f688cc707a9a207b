"""
The bodies of WeChat's pushes and of the replies to them: bytes to fields to a `Push`, and words to bytes. Pure.

Rule 1: whatever is wrong with a body is a `BadPush`; its sentence never quotes the body.
Rule 2: nothing is expanded: DOCTYPE, entities, processing instructions and attributes are refused. WeChat sends none.
Rule 3: real pushes contain raw control characters (github.com/offu/WeRoBot issue 420): they are taken out before parsing.
Rule 4: what leaves here survives a strict parser, whatever the words were.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn
from xml.parsers import expat

from bot.wechat.pages import clean
from bot.wechat.push import Push

SUCCESS = b"success"  # "received, nothing to say": WeChat neither delivers again nor shows an error

Value = str | int | Mapping[str, str]  # of a field in a reply

MAX_FIELDS = 64
# Names from the outside in, without the root. SendPicsInfo.PicList.item.PicMd5Sum has four; twice that is nobody's push.
MAX_DEPTH = 8
# Kept are Name and Outer.Name (ScanCodeInfo.ScanResult). What lies deeper are lists about articles and pictures.
KEPT_DEPTH = 2
MAX_ID = 64  # characters; a MsgId is an int64

# The fields that have a place of their own in a Push.
PLACED = frozenset(
    {
        "ToUserName",
        "FromUserName",
        "CreateTime",
        "MsgType",
        "MsgId",
        "Content",
        "Event",
        "EventKey",
        "bizmsgmenuid",
    }
)


class BadPush(Exception):
    """A body that is no push."""


def read(body: bytes) -> tuple[dict[str, str], str]:
    """
    The fields of a body, and its form ("xml" or "json"); nested ones are named `Outer.Name`. Raises BadPush.

    Every value is text: a MsgId is beyond what a double can hold. Of two fields with one name the last counts.
    """
    try:
        text = clean(body.decode("utf-8-sig")).lstrip()
    except UnicodeDecodeError:
        raise BadPush("the body is not UTF-8") from None
    form = "json" if text.startswith("{") else "xml"
    fields: dict[str, str] = {}
    for path, value in _json_leaves(text) if form == "json" else _xml_leaves(text):
        if len(path) <= KEPT_DEPTH:
            fields[".".join(path)] = value
            if len(fields) > MAX_FIELDS:
                raise BadPush(f"more than {MAX_FIELDS} fields")
    return fields, form


def push_of(fields: Mapping[str, str], form: str) -> Push:
    """The push that `read()` found. BadPush only where it does not say from whom and to whom it is."""
    account, openid = fields.get("ToUserName", ""), fields.get("FromUserName", "")
    if not account or not openid:
        raise BadPush("ToUserName or FromUserName is missing")
    kind = fields.get("MsgType", "").strip().lower()
    event = fields.get("Event", "").strip().lower()  # subscribe but SCAN: WeChat uses both cases
    created_at = fields.get("CreateTime", "").strip()
    message_id = fields.get("MsgId", "").strip()
    if kind == "event":
        push_id = f"{created_at[:MAX_ID]}.{event[:MAX_ID]}.{_digest(event, fields.get('EventKey', ''))}"
    elif message_id and len(message_id) <= MAX_ID:
        push_id = message_id
    else:
        push_id = f"{created_at[:MAX_ID]}.{kind[:MAX_ID]}.{_digest(sorted(fields.items()))}"
    return Push(
        account=account,
        openid=openid,
        push_id=push_id,
        kind=kind,
        text=fields.get("Content", "").strip(),
        event=event,
        event_key=fields.get("EventKey", ""),
        tapped_id=fields.get("bizmsgmenuid", "").strip(),
        created_at=seconds_of(created_at) or 0,
        form=form,
        fields={name: value for name, value in fields.items() if name not in PLACED},
    )


def text_reply(push: Push, words: str, *, now: int) -> bytes:
    """The body that says `words` to whoever sent `push`. `now` in seconds."""
    return written(_reply(push, "text", now) | {"Content": words}, push.form)


def image_reply(push: Push, media_id: str, *, now: int) -> bytes:
    """The body that shows the picture of this id with WeChat."""
    return written(_reply(push, "image", now) | {"Image": {"MediaId": media_id}}, push.form)


def _reply(push: Push, kind: str, now: int) -> dict[str, Value]:
    return {"ToUserName": push.openid, "FromUserName": push.account, "CreateTime": now, "MsgType": kind}


def written(fields: Mapping[str, Value], form: str) -> bytes:
    """The body of a reply with these fields; `read()` finds the same again, cleaned."""
    if form == "json":
        return json.dumps(_cleaned(fields), ensure_ascii=False).encode()
    return f"<xml>{_elements(fields)}</xml>".encode()


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _cleaned(inner) for name, inner in value.items()}
    return clean(value) if isinstance(value, str) else value


def _elements(fields: Mapping[str, Value]) -> str:
    return "".join([f"<{name}>{_marked(value)}</{name}>" for name, value in fields.items()])


def seconds_of(text: str) -> int | None:
    """Epoch seconds as WeChat writes them: plain digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None


def _marked(value: Value) -> str:
    if isinstance(value, str):
        # A "]]>" in the words would end the section early and let them add elements of their own.
        return f"<![CDATA[{clean(value).replace(']]>', ']]]]><![CDATA[>')}]]>"
    return str(value) if isinstance(value, int) else _elements(value)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _json_leaves(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    try:
        # `strict=False` lets a raw line end stand in a string; numbers stay as they are written.
        found = json.loads(text, strict=False, parse_int=str, parse_float=str, parse_constant=_refuse("NaN"))
    except json.JSONDecodeError as error:
        raise BadPush(f"the JSON is malformed: {error.msg} at {error.pos}") from None
    except RecursionError:
        raise BadPush("the JSON is nested too deeply") from None
    yield from _leaves(found, ())


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if len(path) > MAX_DEPTH:
        raise BadPush("the JSON is nested too deeply")
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, clean(name)))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, (*path, "item"))  # what the XML form calls them
    elif isinstance(value, bool):
        yield path, str(value).lower()
    else:
        yield path, clean(value or "")  # escapes may bring in what was not in the body's bytes


# Fields in one row, of numbers and of texts without a bracket: as nearly all pushes are. Of a text that is `clean` expat reads
# the same, in three times the time.
_PLAIN = r"<([A-Za-z]{1,32})>(?:<!\[CDATA\[([^\]]*+)\]\]>|([0-9]*+))</\1>[ \n]*+"
_ROW = re.compile(rf"<xml>[ \n]*+(?:{_PLAIN})++</xml>[ \n]*+")
_FIELD = re.compile(_PLAIN)


def _xml_leaves(text: str) -> list[tuple[tuple[str, ...], str]]:
    if _ROW.fullmatch(text):
        return [((name,), words or number) for name, words, number in _FIELD.findall(text)]
    return _parsed_leaves(text)


def _parsed_leaves(text: str) -> list[tuple[tuple[str, ...], str]]:
    leaves: list[tuple[tuple[str, ...], str]] = []
    path: list[str] = []
    words: list[str] = []
    is_leaf = False

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal is_leaf
        if attributes:
            raise BadPush("the XML has attributes")
        path.append(name)
        if len(path) > MAX_DEPTH + 1:
            raise BadPush("the XML is nested too deeply")
        words.clear()
        is_leaf = True

    def end(_name: str) -> None:
        nonlocal is_leaf
        if is_leaf:
            leaves.append((tuple(path[1:]), "".join(words)))
        is_leaf = False
        path.pop()

    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = words.append
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.ProcessingInstructionHandler = _refuse_instruction
    try:
        # In one piece: expat before 2.6 is quadratic in a token that comes in many (CVE-2023-52425).
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise BadPush(
            f"the XML is malformed: {expat.ErrorString(error.code)} at {error.lineno}:{error.offset}"
        ) from None
    return [leaf for leaf in leaves if leaf[0]]


def _refuse(what: str) -> Any:
    def refuse(*_: Any) -> NoReturn:
        raise BadPush(f"the body has a {what}")

    return refuse


_refuse_doctype, _refuse_instruction = _refuse("DOCTYPE"), _refuse("processing instruction")
