"""What the bot says, in English. Pure. The rules are in `bot.texts`."""

from __future__ import annotations

from collections.abc import Mapping

EN: Mapping[str, str] = {
    "welcome": (
        "Hello! Send me text and an AI answers. When it takes a while you get a link: tap it to collect the answer. "
        "Send “{help}” to see what else there is."
    ),
    "help": (
        "Any text is a question; I remember what we said before.\n"
        "“{more}”: collect an answer you have not seen\n"
        "“{clear}”: forget what we said and start afresh\n"
        "“{status}”: what still waits\n"
        "“{my_id}”: your ID with this account\n"
        "“{help}”: this text again{extras}"
    ),
    "help_drawing": "“{draw} a cat”: a picture of it",
    "help_personas": "“{role}”: let somebody else answer",
    "thinking": 'Still thinking, {seconds} s so far. <a href="{link}">Tap here for the answer</a>',
    "drawing": 'Drawing, {seconds} s so far. <a href="{link}">Tap here for the picture</a>',
    "queued": 'Noted; {ahead} before it, answered in order. <a href="{link}">Tap here for the answer to this one</a>',
    "too_many": (
        "{waiting} questions wait already, so this one was not taken. Please send it again when they are answered. "
        '<a href="{link}">Collect the oldest answer</a>'
    ),
    "resting": (
        "Too many are asking. I go on in about {minutes} min; your question is kept, no need to send it again. "
        '<a href="{link}">Tap here for the answer then</a>'
    ),
    "failed_resting": (
        'Too many are asking; I cannot answer for about {minutes} min. <a href="{link}">Tap here then to ask again</a>'
    ),
    "failed_exhausted": (
        'No model is available until the operator has seen to it. <a href="{link}">Tap here later to ask again</a>'
    ),
    "failed_refused": (
        "The model refused this question: too long, perhaps, or its content. Please word it differently, or "
        '<a href="{link}">tap here to ask it again as it is</a>'
    ),
    "failed_unreachable": 'The model cannot be reached. <a href="{link}">Tap here to ask again</a>',
    "failed_timeout": (
        'The model took too long. <a href="{link}">Tap here to ask again</a>, or ask for less at a time.'
    ),
    "failed_truncated": 'The answer was cut off on its way. <a href="{link}">Tap here to ask again</a>',
    "failed_empty": (
        "The model reached its limit without saying anything. Please ask more briefly, or "
        '<a href="{link}">tap here to ask again</a>'
    ),
    "failed_filtered": (
        "The answer has words that must not be shown here. Please word the question differently, or "
        '<a href="{link}">tap here to ask again</a>'
    ),
    "failed_blind": (
        "The present model does not look at pictures. Please tell me in text, or "
        '<a href="{link}">tap here to try again</a>'
    ),
    "failed_photo": (
        "The picture could not be fetched: too large, perhaps, or not a picture. Please send it again, tell me in text, or "
        '<a href="{link}">tap here to try again</a>'
    ),
    "failed_drawing": (
        "The picture was not drawn, perhaps for its content. Please word it differently, or "
        '<a href="{link}">tap here to try again</a>'
    ),
    "failed_interrupted": 'We were restarted twice while thinking. <a href="{link}">Tap here to ask again</a>',
    "failed_crashed": 'Something broke on our side; the log has it. <a href="{link}">Tap here to ask again</a>',
    "more_pages": '<a href="{link}">More: tap here for the next page</a>',
    "part_more": '<a href="{link}">Still writing: tap here for what follows</a>',
    "ended": "(That was the whole answer.)",
    "picture": 'Drawn; the link works for {hours} hours: <a href="{url}">tap here to see it</a>',
    "more_waiting": '<a href="{link}">Answers still waiting: {count}. Tap here</a>',
    "nothing_waiting": "No answer is waiting for you. Send me text to ask.",
    "cleared": "Done, forgotten. Let us start afresh.",
    "your_id": "{openid}",
    "status": "Being answered: {waiting}\nReady to collect: {ready}\nAsked today: {asked}\nWho answers: {persona}",
    "no_persona": "the usual one",
    "personas": "Who can answer: {names}\nSend “{role} NAME” to choose, “{role} {default}” to go back.",
    "persona_chosen": "Done. From now on “{persona}” answers.",
    "persona_default": "Done. The usual one answers again.",
    "draw_what": "What shall I draw? For example “{draw} a cat on a bicycle in the rain”.",
    "photo_question": "Look at this photo: what is in it? Solve it if it is an exercise; sum it up if it is text.",
    "too_fast": "That was too fast: {limit} a minute at most. Please send it again in a minute.",
    "no_questions_left": "Today's {limit} questions are used up. See you tomorrow.",
    "no_drawings_left": "Today's {limit} pictures are used up; questions in text still work. See you tomorrow.",
    "not_admitted": "This account answers only certain people. Your ID is {openid}; you can give it to the operator.",
    "forbidden_words": "There is a word in it that is not for this place, so it was not asked. Please word it differently.",
    "admin_status": "Keys usable: {usable} of {keys}. Questions not collected: {pending}.",
    "admin_key": "Key {key}: {state}",
    "admin_no_key": "There is no key called {key}. There are: {keys}",
    "admin_blocked": "Blocked: {openid}",
    "admin_unblocked": "No longer blocked: {openid}",
    "admin_no_openid": "An ID must follow; whoever it is sees theirs by sending “my id”.",
    "admin_notices_on": "Done. You hear when a key dies or none is usable. Send it again to switch it off.",
    "admin_notices_off": "Done. No more notices.",
    "admin_notices_impossible": "This account cannot send messages by itself (it must be verified, with an app_secret).",
    "notice_key": "Key {key}: {state}. {advice} The status page says why.",
    "notice_no_key": "No key can serve now; every question waits. The status page says why.",
    "notice_key_again": "A key can serve again; the questions that wait are answered.",
    "notice_upstream_down": "Upstream {upstream} is resting. {reason} You hear when it is back.",
    "notice_upstream_up": "Upstream {upstream} is back.",
    "voice": "That voice message came without text, so I cannot tell what you said. Please type it.",
    "image": "That picture came without its address, so I cannot see it. Please send it again, or tell me in text.",
    "location": "I have no use for a location yet. Please tell me in text.",
    "link": "I cannot open links. Please send me the text you want to ask about.",
    "video": "I cannot watch videos yet. Please tell me in text.",
    "other": "I cannot read this kind of message yet. Please send text.",
    "not_kept": "Your message could not be recorded, so nothing was done with it. Please send it again in a while.",
    "echo": "Q: {question}",
    "word_more": "continue",
    "word_clear": "clear",
    "word_help": "help",
    "word_id": "my id",
    "word_status": "status",
    "word_persona": "role",
    "word_default": "default",
    "word_disable": "disable",
    "word_enable": "enable",
    "word_block": "block",
    "word_unblock": "unblock",
    "word_notices": "notices",
}
