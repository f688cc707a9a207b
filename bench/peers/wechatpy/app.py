"""A bot as people write it with wechatpy and Flask: a push is checked, stored once, and answered."""

import os
import sqlite3
import threading

from flask import Flask, abort, request
from wechatpy import create_reply, parse_message
from wechatpy.exceptions import InvalidSignatureException
from wechatpy.utils import check_signature

TOKEN, DATABASE = os.environ["WECHAT_TOKEN"], os.environ["WECHAT_DATABASE"]
SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, push TEXT UNIQUE, openid TEXT, content TEXT, at TEXT DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS message_by_openid ON message (openid, id);
"""

app = Flask(__name__)
of_thread = threading.local()


def database() -> sqlite3.Connection:
    if not hasattr(of_thread, "database"):
        of_thread.database = sqlite3.connect(DATABASE, timeout=30)
        of_thread.database.execute("PRAGMA journal_mode = WAL")
        of_thread.database.execute("PRAGMA synchronous = FULL")
        of_thread.database.executescript(SCHEMA)
    return of_thread.database


@app.post("/wechat")
def push() -> str:
    try:
        check_signature(TOKEN, *(request.args.get(name, "") for name in ("signature", "timestamp", "nonce")))
    except InvalidSignatureException:
        abort(403)
    message = parse_message(request.get_data())
    with database() as connection:
        connection.execute(
            "INSERT OR IGNORE INTO message (push, openid, content) VALUES (?, ?, ?)",
            (str(message.id), message.source, message.content),
        )
    last = database().execute(
        "SELECT content FROM message WHERE openid = ? ORDER BY id DESC LIMIT 5", (message.source,)
    )
    return create_reply(f"Stored; {len(last.fetchall())} of yours.", message).render()
