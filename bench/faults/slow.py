"""
Callers who never finish what they say, a program of its own: `python -m bench.faults.slow --port 9000 --count 5000`.

Rule 1: each sends its head a byte at a time, and comes again as soon as it is sent away, until standard input ends.
Rule 2: `ready` is said when each has come once; at the end it is told how often they had to come again.
Rule 3: what the crowd costs itself is not the daemon's: it gives way to everybody else here, and comes evenly, not in waves.
"""

from __future__ import annotations

import argparse
import itertools
import os
import selectors
import socket
import sys
import time

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: posthouse\r\nX-Slow: " + b"a" * 200
BYTE_SECONDS = 4.0  # between two bytes of one
TURN_SECONDS = 0.01
NEW_AT_ONCE = 7  # in a turn: seven hundred in a second, so that all are there before the first are sent away
NICENESS = 10


class Crowd:
    def __init__(self, port: int, count: int) -> None:
        self._port, self._count = port, count
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[socket.socket, int] = {}  # and how much of the head it has sent
        self.comings = 0

    @property
    def is_complete(self) -> bool:
        """Whether every one has come at least once; where there is no room for all, they come again and again."""
        return self.comings >= self._count

    def turn(self, number: int) -> None:
        for _ in range(min(NEW_AT_ONCE, self._count - len(self._sockets))):
            self._come()
        for key, _ in self._selector.select(0):
            assert isinstance(key.fileobj, socket.socket)
            self._leave_if_closed(key.fileobj)
        turns = round(BYTE_SECONDS / TURN_SECONDS)
        for each in list(itertools.islice(self._sockets, number % turns, None, turns)):
            self._drip(each)

    def _come(self) -> None:
        each = socket.socket()
        each.setblocking(False)
        self.comings += 1
        try:
            each.connect_ex(("127.0.0.1", self._port))
        except OSError:
            each.close()
            return
        self._selector.register(each, selectors.EVENT_READ)
        self._sockets[each] = 0

    def _drip(self, each: socket.socket) -> None:
        sent = self._sockets[each]
        try:
            each.send(HEAD[sent : sent + (1 if sent else 40)])
            self._sockets[each] = sent + (1 if sent else 40)
        except BlockingIOError:
            return
        except OSError:
            self._leave(each)

    def _leave_if_closed(self, each: socket.socket) -> None:
        try:
            if each.recv(4096):
                return  # a last word; the end comes after it
        except BlockingIOError:
            return
        except OSError:
            pass
        self._leave(each)

    def _leave(self, each: socket.socket) -> None:
        self._selector.unregister(each)
        del self._sockets[each]
        each.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    os.nice(NICENESS)
    crowd, is_ready = Crowd(options.port, options.count), False
    orders = selectors.DefaultSelector()
    orders.register(sys.stdin, selectors.EVENT_READ)
    for number in itertools.count():
        began = time.monotonic()
        crowd.turn(number)
        if crowd.is_complete and not is_ready:
            is_ready = True
            print("ready", flush=True)
        if orders.select(max(0.0, TURN_SECONDS - (time.monotonic() - began))):
            break
    print(crowd.comings, flush=True)


if __name__ == "__main__":
    main()
