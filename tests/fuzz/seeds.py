"""What good input looks like, for each target."""

from __future__ import annotations

from collections.abc import Mapping

AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
SECRET = "sk-fuzzed-and-never-shown"

HEAD = b"""POST /v1/chat/completions HTTP/1.1\r
Host: a.test\r
Authorization: Bearer ph-x\r
Content-Type: application/json\r
X-Stainless-Lang: js\r
Content-Length: 12"""
CHAT = b'{"model": "gpt-5", "stream": true, "store": false, "messages": [{"role": "user", "content": "hi \\u4f60"}]}'
FOLLOWING = b'{"input": ["a", "file-Abc123"], "mod\\u0065l": "gpt-5", "previous_response_id": "resp_0A1b"}'
FORM = b"""--fuzz\r
Content-Disposition: form-data; name="model"\r
\r
whisper-1\r
--fuzz\r
Content-Disposition: form-data; name="file"; filename="a"\r
\r
RIFF\r
--fuzz--\r
"""
PUSH = """<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName>o1</FromUserName><CreateTime>17</CreateTime>
<MsgType>text</MsgType><Content><![CDATA[你好]]></Content><MsgId>25033203329280739</MsgId></xml>""".encode()
EVENT = b'{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":17,"MsgType":"event","Event":"SCAN","S":{"T":[1]}}'
INSIDE = b"<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName></xml>"
CONFIG = f"""[server]
listen = ["127.0.0.1:8080"]
[operator]
password = "long-enough-and-never-shown"
[[keys]]
name = "main"
secret = "{SECRET}"
max_concurrency = 30
[proxy]
queue_seconds = 8.0
[[proxy.callers]]
name = "a"
token = "ph-fuzzed-and-never-shown"
models = ["gpt-5"]
[bot]
model = "gpt-5"
[[bot.accounts]]
id = "gh_000000000001"
token = "fuzztoken"
""".encode()
DELTA = 'data: {"id":"chatcmpl-A1","choices":[{"index":0,"delta":{"content":"你"},"finish_reason":null}]}\n\n'.encode()
CREATED = (
    b'event: response.created\r\ndata: {"type":"response.created","response":{"id":"resp_0A1b"}}\r\n\r\n: ping\n\n'
)
CHUNKED = b"HTTP/1.1 429 Too Many\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n"
LIMITED = b'{"error": {"message": "Rate limit reached for gpt-5 in organization org-A1, try again in 1s", "code": "x"}}'
FORMULAS = b"""```python
print(1)
```
\\begin{cases}x&=1\\\\y\\end{cases}
$$\\sum_{i=1}^n \\sqrt[3]{x_i}$$
> q
"""
MARKDOWN = (
    "# 题\n\n1. **a** `b` [c](https://d.test)\n\n| x | y |\n|---|---|\n| $\\frac{1}{2}$ | \\(\\alpha\\) |\n".encode()
)
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "heads": (HEAD,),
    "bodies": (CHAT, FOLLOWING, FORM),
    "targets": (b"chat/completions?stream=true", b"files/file-Abc%2D1/content", b"organizations/x", b"a.b/..c"),
    "pushes": (PUSH, EVENT),
    "envelopes": (bytes(16) + len(INSIDE).to_bytes(4, "big") + INSIDE + b"wx0000000000000001", EVENT, INSIDE),
    "configs": (CONFIG,),
    "streams": (DELTA * 2 + DELTA.replace(b"null", b'"stop"') + b"data: [DONE]\n\n", CREATED),
    "answers": (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello", CHUNKED),
    "errors": (LIMITED,),
    "texts": (MARKDOWN, FORMULAS),
    "pictures": (PNG, GIF),
}
