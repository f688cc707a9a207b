"""
What strace saw of a daemon, read for one question: was what it acknowledged on the disk before? Pure.

Rule 1: a name is on the disk when a page of the write-ahead log that bears it was written, and the sync that began next after
        that returned 0. A sync that fails loses what was written before it, whatever a later one says: the kernel then takes
        the pages for clean. Source: postgresql's "fsyncgate", lwn.net/Articles/752063.
Rule 2: a reply belongs to the push that was read last from the same descriptor.
Rule 3: one subscriber asks one question here, `o7#0`, so that a subscriber's id names it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bench.faults.books import NAME, is_callers, is_refusal

READING = frozenset({"read", "recvfrom", "recvmsg"})
SAYING = frozenset({"write", "writev", "sendto", "sendmsg"})
SYNCING = frozenset({"fdatasync", "fsync"})
FAILED = -1
CALLS = ",".join(sorted({*READING, *SAYING, *SYNCING, "pwrite64"}))

_LINE = re.compile(r"^(\d+) +(\w+)\((\d+)<([^>]*)>(.*)$", re.DOTALL)
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_RESULT = re.compile(r"\) += (-?\d+)")
_FROM = re.compile(r"<FromUserName><!\[CDATA\[(\w+)\]\]>")


@dataclass(frozen=True, slots=True)
class Call:
    """`result` is None where the call has not returned on this line."""

    thread: str
    name: str
    descriptor: str
    file: str
    text: str
    result: int | None


@dataclass(slots=True)
class _Reply:
    """What was written to a push, in as many calls as it took."""

    name: str
    text: str = ""
    is_early: bool = False


@dataclass(slots=True)
class Finding:
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)  # of the model
    early: set[str] = field(default_factory=set)  # acknowledged, or asked of the model, and not on the disk
    failed_syncs: int = 0

    def judge(self, reply: _Reply | None) -> None:
        if reply is None or not reply.text.startswith("HTTP/1.1 200"):
            return  # closed without an answer, or refused by status: nothing was claimed
        if is_refusal(reply.text):
            self.refused.add(reply.name)
            return
        self.acknowledged.add(reply.name)
        if reply.is_early:
            self.early.add(reply.name)


def read(lines: Iterable[str]) -> Finding:
    finding = Finding()
    written: set[str] = set()
    syncing: dict[str, set[str]] = {}  # by thread
    durable: set[str] = set()
    replies: dict[str, _Reply] = {}  # by descriptor
    for call in calls(lines):
        is_log = call.file.endswith("-wal")
        if call.name == "pwrite64" and is_log and call.result not in (None, FAILED):
            written.update(NAME.findall(call.text))
        elif call.name in SYNCING and is_log:
            if call.thread not in syncing:
                syncing[call.thread], written = written, set()
            if call.result is not None:
                names = syncing.pop(call.thread)
                if call.result == 0:
                    durable |= names
                finding.failed_syncs += call.result != 0
        elif call.name in READING and (asker := _FROM.search(call.text)):
            finding.judge(replies.pop(call.descriptor, None))
            replies[call.descriptor] = _Reply(f"{asker[1]}#0")
        elif call.name in SAYING and (reply := replies.get(call.descriptor)):
            reply.is_early |= not reply.text and reply.name not in durable
            reply.text += call.text
        elif call.name in SAYING and '"messages"' in call.text:
            names = {name for name in NAME.findall(call.text)[-1:] if name.endswith("#0") and not is_callers(name)}
            finding.asked |= names
            finding.early |= names - durable
    for reply in replies.values():
        finding.judge(reply)
    return finding


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """In the order of the trace; a call that is interrupted by others comes twice: as it begins, and as it returns."""
    begun: dict[str, Call] = {}
    for line in lines:
        if found := _LINE.match(line):
            thread, name, descriptor, file, rest = found.groups()
            result = None if "<unfinished ...>" in rest else _result(rest)
            call = Call(thread, name, descriptor, file, _text(rest), result)
            if result is None:
                begun[thread] = call
            yield call
        elif (found := _RESUMED.match(line)) and found[1] in begun:
            call = begun.pop(found[1])
            # What is read is known only now; what is said left when the call began.
            text = _text(found[3]) if call.name in READING else "" if call.name in SAYING else call.text
            yield Call(call.thread, call.name, call.descriptor, call.file, text, _result(found[3]))


def _result(rest: str) -> int | None:
    found = _RESULT.findall(rest)
    return int(found[-1]) if found else None


def _text(rest: str) -> str:
    quoted = "".join(_QUOTED.findall(rest))
    data, _ = codecs.escape_decode(quoted)
    return data.decode(errors="replace")
