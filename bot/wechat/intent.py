"""
What a push asks for. Pure.

Rule 1: a tap names its exchange: it collects that one; asks it again when it failed and the subscriber knows; or repeats its
        last page. An id that names nothing of this subscriber's is as good as the word typed.
Rule 2: typed 继续, 1 or ? collect the oldest exchange waiting, and only when one waits. Otherwise they are questions, but 继续:
        that repeats the last page of the last ten minutes, or says that nothing waits.
Rule 3: the same text as an uncollected exchange's question collects that one. Nothing else collects.
Rule 4: any other text, typed, recognised from speech or meant by a tap on the menu, is a new question, and so is a photo.
        Behind the one that runs a few may wait; one more is refused in words, never swallowed.
Rule 5: a push that was seen before stands by the exchange it asked or collected then.
Rule 6: who is blocked gets nothing; who is not among those allowed learns their id, to tell the operator; administrators have
        no limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace

from bot.exchange import Exchange, Kind, State
from bot.subscriber import Share, Subscriber
from bot.texts import Texts
from bot.value import value_type
from bot.wechat.commands import Command, Said, command_in, drawing_in
from bot.wechat.intents import Act, Ask, Choose, Clear, Collect, Forget, Intent, Nothing, Report, Retry, Say
from bot.wechat.link import link
from bot.wechat.pages import cut
from bot.wechat.push import Push

MOST_NAME_BYTES = 1500  # of personas in one reply, which has room for about 2,000
MORE_SIGNS = ("1", "?", "？")  # as good as 继续 while something waits
# What WeChat sends in place of a sticker. Source: CowAgent, channel/wechatmp/passive_reply.py.
UNREADABLE = "【收到不支持的消息类型，暂无法显示】"
UNREAD_KINDS = {
    "voice": "voice",
    "image": "image",
    "location": "location",
    "link": "link",
    "video": "video",
    "shortvideo": "video",
    "miniprogrampage": "other",
}


@value_type
class Rules:
    """An account's. `draw_word` is "" where nothing is drawn; `menu` maps an event key to the text it means."""

    texts: Texts
    queued_questions: int = 3
    draw_word: str = ""
    personas: tuple[str, ...] = ()
    menu: Mapping[str, str] = field(default_factory=dict)
    administrators: frozenset[str] = frozenset()
    share: Share = field(default_factory=Share)
    forbids: Callable[[str], bool] = lambda words: False


@value_type
class Box:
    """What is known of a push and its subscriber; every exchange in it is this subscriber's own."""

    known: Exchange | None = None  # what this very push asked or collected
    tapped: Exchange | None = None  # what the tap names
    waiting: Sequence[Exchange] = ()  # uncollected, oldest first
    last: Exchange | None = None  # whose page went out last, if that was within ten minutes
    subscriber: Subscriber = field(default_factory=Subscriber)


def meant(push: Push, rules: Rules) -> Push:
    """A tap on the account's menu is the text that it stands for, where the operator has said which."""
    text = rules.menu.get(push.event_key, "").strip() if push.event == "click" else ""
    return replace(push, kind="text", text=text) if text else push


def at_once(push: Push, rules: Rules) -> Intent | None:
    """What the push asks for by itself, whatever waits; None when it takes the subscriber's `Box` to tell.

    Apart, so that 帮助 is answered while the store is not.
    """
    if push.event == "unsubscribe":
        return Forget()
    if push.openid in rules.share.block:
        return Nothing()
    match push.kind:
        case "event":
            welcome = Say("welcome", {"help": rules.texts.say("word_help")})
            return welcome if push.event == "subscribe" else Nothing()
        case "text" if said := _command(push, rules):
            return _of_command(said, push, rules)
        case kind if not _is_admitted(push, rules):
            return _not_admitted(push) if kind == "text" or kind in UNREAD_KINDS else Nothing()
        case "text":
            return Say("other") if push.text in ("", UNREADABLE) else _of_drawing(push, rules)
        case "voice" if _recognised(push):
            return None
        case "image" if _photo(push):
            return None
        case kind:
            return Say(UNREAD_KINDS[kind]) if kind in UNREAD_KINDS else Nothing()


def intent(push: Push, box: Box, rules: Rules) -> Intent:
    """What the push asks for."""
    if (simple := at_once(push, rules)) is not None:
        return simple
    if box.subscriber.is_blocked:
        return Nothing()
    if box.known is not None:
        return Collect(box.known)
    if box.tapped is not None:
        return _of_tap(box.tapped, push, box, rules)
    if push.kind == "image":
        return _of_question(Ask(rules.texts.say("photo_question"), Kind.PHOTO, _photo(push)), push, box, rules)
    if push.kind == "voice":
        return _of_question(Ask(_recognised(push)), push, box, rules)
    if box.waiting and (says_more(push, rules) or push.text in MORE_SIGNS):
        return Collect(box.waiting[0])
    if says_more(push, rules):
        return Say("nothing_waiting") if box.last is None else Collect(box.last)
    if prompt := drawing_in(push.text, rules.draw_word):
        return _of_question(Ask(prompt, Kind.DRAWING), push, box, rules)
    return _of_question(Ask(push.text), push, box, rules)


def says_more(push: Push, rules: Rules) -> bool:
    return push.kind == "text" and _command(push, rules) == Said(Command.MORE)


def is_administrator(push: Push, rules: Rules) -> bool:
    return push.openid in rules.administrators


def _command(push: Push, rules: Rules) -> Said | None:
    return command_in(push.text, rules.texts, is_administrator=is_administrator(push, rules))


def _of_command(said: Said, push: Push, rules: Rules) -> Intent | None:
    if said.command is Command.ID:  # also for whoever is not admitted: the operator needs it
        return Say("your_id", {"openid": push.openid})
    if not _is_admitted(push, rules):
        return _not_admitted(push)
    match said.command:
        case Command.MORE:
            return None
        case Command.CLEAR:
            return Clear()
        case Command.HELP:
            return Say("help", _help_facts(rules))
        case Command.STATUS:
            return Report()
        case Command.PERSONA:
            return _of_persona(said.about, rules)
        case command:
            return Act(command, said.about)


def _help_facts(rules: Rules) -> Mapping[str, object]:
    texts = rules.texts
    words = {
        "more": "word_more",
        "clear": "word_clear",
        "help": "word_help",
        "my_id": "word_id",
        "status": "word_status",
    }
    extras = []
    if rules.draw_word:
        extras.append(texts.say("help_drawing", draw=rules.draw_word))
    if rules.personas:
        extras.append(texts.say("help_personas", role=texts.say("word_persona")))
    return {fact: texts.say(word) for fact, word in words.items()} | {"extras": "".join(f"\n{line}" for line in extras)}


def _of_persona(name: str, rules: Rules) -> Intent | None:
    texts = rules.texts
    if not rules.personas:
        return None  # a question like any other
    known = {persona.casefold(): persona for persona in rules.personas}
    if name.casefold() == texts.say("word_default").casefold():
        return Choose("")
    if name.casefold() in known:
        return Choose(known[name.casefold()])
    facts = {
        "names": cut("、".join(rules.personas), MOST_NAME_BYTES)[0],
        "role": texts.say("word_persona"),
        "default": texts.say("word_default"),
    }
    return Say("personas", facts)


def _of_drawing(push: Push, rules: Rules) -> Intent | None:
    if drawing_in(push.text, rules.draw_word) == "":
        return Say("draw_what", {"draw": rules.draw_word})
    return None


def _of_tap(tapped: Exchange, push: Push, box: Box, rules: Rules) -> Intent:
    is_told_failure = tapped.state is State.FAILED and not tapped.is_uncollected
    if not is_told_failure:
        return Collect(tapped)
    return _too_much(tapped.kind, push, box, rules) or Retry(tapped)


def _of_question(ask: Ask, push: Push, box: Box, rules: Rules) -> Intent:
    for waiting in box.waiting:
        if (waiting.question, waiting.kind, waiting.photo) == (ask.question, ask.kind, ask.photo):
            return Collect(waiting)
    if rules.forbids(ask.question):
        return Say("forbidden_words")
    return _too_much(ask.kind, push, box, rules) or ask


def _too_much(kind: Kind, push: Push, box: Box, rules: Rules) -> Say | None:
    """Why one question more, or the same again, cannot be taken now."""
    unfinished = sum(map(is_unfinished, box.waiting))
    if unfinished > rules.queued_questions:  # one of them runs
        return Say("too_many", {"waiting": unfinished, "link": link(box.waiting[0], rules.texts)})
    share, draws = rules.share, kind is Kind.DRAWING
    if not is_administrator(push, rules) and (refusal := share.refusal(box.subscriber, draws=draws)):
        name, limit = refusal
        return Say(name, {"limit": limit})
    return None


def is_unfinished(exchange: Exchange) -> bool:
    return exchange.state in (State.QUEUED, State.THINKING)


def _is_admitted(push: Push, rules: Rules) -> bool:
    return rules.share.admits(push.openid) or is_administrator(push, rules)


def _not_admitted(push: Push) -> Say:
    return Say("not_admitted", {"openid": push.openid})


def _photo(push: Push) -> str:
    return push.fields.get("PicUrl", "").strip()


def _recognised(push: Push) -> str:
    """What WeChat heard in a voice message; it has been switching that off since 2023, and then it is empty."""
    return push.fields.get("Recognition", "").strip()
