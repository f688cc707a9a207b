"""The settings of the bot: how it answers, what it remembers, which accounts it serves."""

from typing import Literal

from daemon.schema.places import AccountPath, BaseUrl, OptionalFile
from daemon.schema.secrets import AesKey, AppSecret, PathSecret, WeChatToken
from daemon.schema.table import Table, required, written
from daemon.schema.values import (
    AccountId,
    AppId,
    Count,
    Flag,
    HoldSeconds,
    ModelNameOrNone,
    Openid,
    Positive,
    Seconds,
    SecondsOrOff,
    Temperature,
    Text,
    Texts,
)

SYSTEM_PROMPT = "你是微信公众号里的助手。用提问者的语言回答，简短、清楚、如实；不知道就说不知道。不要用 Markdown。"
Openids = tuple[Openid, ...]


class Memory(Table):
    """What of the conversation the model is told again."""

    exchanges: Count = 10
    """Earlier questions and answers sent along with a question."""
    max_tokens: Count = 3000
    """Their size at most, in tokens (estimated)."""
    idle_minutes: Seconds = 60
    """A conversation is forgotten after so many minutes of silence."""


class UserLimits(Table):
    """What one subscriber may cost."""

    questions_per_day: Count = 0
    """Questions of one subscriber in a day; 0 = no limit."""
    questions_per_minute: Count = 0
    """Questions of one subscriber in a minute; 0 = no limit."""
    images_per_day: Count = 0
    """Pictures of one subscriber in a day; 0 = no limit."""
    allow: Openids = ()
    """The only subscribers who are answered, by openid; empty = everyone."""
    block: Openids = ()
    """Subscribers who are not answered, by openid."""


class Images(Table):
    """Pictures."""

    keyword: Text = "作画"
    """A message of this word, a space and what to draw asks for a picture."""
    model: ModelNameOrNone = ""
    """The model that draws; "" = no pictures."""
    size: Text = "1024x1024"
    """The size of a picture, as the images API takes it."""
    keep_hours: Positive = 72
    """How long a picture is kept and its link works, in hours."""


class Words(Table):
    """A local filter."""

    file: OptionalFile = written("")
    """
    A file of words, one a line, that neither questions nor answers may contain; read again when it changes; "" = no filter.
    """


class Account(Table):
    """A WeChat Official Account, one table for each."""

    id: AccountId = required(example='"gh_0123456789ab"')
    """The account's original id (原始ID, gh_…), from the console's account settings."""
    path: AccountPath = "/wechat"
    """The path of the URL that the console asks for."""
    token: WeChatToken = required(example='{ env = "WECHAT_TOKEN" }')
    """The Token entered in the console: 3 to 32 letters and digits, a secret."""
    app_id: AppId = written("", example='"wx0123456789abcdef"')
    """The account's AppID; needed with an encoding_aes_key."""
    encoding_aes_key: AesKey = written("", example='{ env = "WECHAT_AES_KEY" }')
    """The EncodingAESKey entered in the console: 43 letters and digits, a secret. With it pushes come encrypted."""
    previous_encoding_aes_key: AesKey = written("")
    """The one before it, still tried while the console changes over; a secret."""
    allow_plaintext: Flag = False
    """Whether pushes in the clear are taken although an encoding_aes_key is set (the console's compatible mode)."""
    app_secret: AppSecret = written("")
    """The AppSecret, for answers by customer-service message; a secret."""
    customer_service: Literal["auto", "never"] = "auto"
    """Whether late answers go out as customer-service messages: "auto" finds out, "never"."""
    api_base: BaseUrl = "https://hk.api.weixin.qq.com"
    """WeChat's own server; the Hong Kong one is nearest to servers abroad."""
    administrators: Openids = ()
    """Subscribers who may send commands to the bot, by openid; what theirs is, 获取id tells them. They have no limits."""
    model: ModelNameOrNone = ""
    """Overrides bot.model for this account."""
    system_prompt: Text | None = written(None, example='"…"')
    """Overrides bot.system_prompt for this account."""
    limits: UserLimits | None = None
    """Overrides [bot.limits] for this account."""


class CloudRun(Table):
    """Pushes of WeChat Cloud Run, which carry no signature: off unless the daemon runs there or behind a relay there."""

    enabled: Flag = False
    """Whether /message/post and /message/simple take the pushes of WeChat Cloud Run (微信云托管)."""
    secret: PathSecret = written("")
    """What such a push must carry, as X-Posthouse-Secret or in /message/{secret}/post; a secret."""
    hold_seconds: HoldSeconds = 2.8
    """How long such a push is held for its answer, in seconds."""


class Bot(Table):
    """How subscribers are answered."""

    api: Literal["chat", "responses", "completions"] = "chat"
    """The API that the model is asked by."""
    model: ModelNameOrNone = written("", example='"gpt-5-mini"')
    """The model that answers, as the upstream calls it. Needed as soon as there is an account."""
    system_prompt: Text = SYSTEM_PROMPT
    """What the model is told before every conversation."""
    temperature: Temperature | None = written(None, example="1.0")
    """Not sent unless set; many models of today refuse it."""
    max_tokens: Positive | None = written(None, example="1000")
    """The longest answer, in tokens; not sent unless set."""
    answer_seconds: Seconds = 300
    """The time the model may take for an answer, in seconds."""
    hold: Literal["three", "one"] = "three"
    """How many of WeChat's three deliveries are held open for an answer: "three" or "one"."""
    hold_seconds: HoldSeconds = 4.0
    """How long the last of them is held, in seconds; WeChat waits five, the way there and back included."""
    hold_budget: Count = 20
    """Deliveries of one account that may be left unanswered in 5 minutes; WeChat stops pushing after too many."""
    prefix: Text = ""
    """Put before every answer."""
    label: Text = "（内容由AI生成）"
    """Put after every answer; in China a visible label is required by law since 2025-09-01."""
    keep_days: Positive = 7
    """How long questions and answers are kept, in days."""
    queued_questions: Count = 3
    """Questions of one subscriber that may wait while one is being answered."""
    queue_seconds: SecondsOrOff = 20
    """How long a question waits in line for a key that is soon back, in seconds."""
    concurrency: Count = 0
    """Questions asked of models at once; 0 = no limit."""
    memory: Memory = written({})
    limits: UserLimits = written({})
    images: Images = written({})
    words: Words = written({})
    texts: Texts = written({}, example='{ welcome = "你好！直接发文字就可以提问。" }')
    """What the bot says, by name; whatever is not set keeps its wording."""
    accounts: tuple[Account, ...] = ()
    cloudrun: CloudRun = written({})
    personas: Texts = written({}, example='{ "老师" = "你是一位耐心的老师。" }')
    """Roles a subscriber may choose: name = system prompt."""
    menu: Texts = written({}, example='{ ask = "今天有什么新闻？" }')
    """What a tap on the account's menu means: event key = text or command."""
