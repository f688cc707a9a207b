"""What the bot says, in Chinese. Pure. The rules are in `bot.texts`."""

from __future__ import annotations

from collections.abc import Mapping

ZH: Mapping[str, str] = {
    "welcome": (
        "你好！直接发文字就可以向 AI 提问。回答要想一会儿时，我会先给你一个链接，点它就能取到。"
        "发送「{help}」看看还能做什么。"
    ),
    "help": (
        "直接发文字就是提问，前面聊过的我会记得。\n"
        "「{more}」取还没看到的回答\n"
        "「{clear}」忘掉前面聊过的，重新开始\n"
        "「{status}」看还有什么在等\n"
        "「{my_id}」看你在这个公众号里的 ID\n"
        "「{help}」再看一遍这段话{extras}"
    ),
    "help_drawing": "「{draw} 一只猫」画一张图",
    "help_personas": "「{role}」换一个角色来回答",
    "thinking": '还在想，已经 {seconds} 秒了。<a href="{link}">点这里取回答</a>',
    "drawing": '正在画，已经 {seconds} 秒了。<a href="{link}">点这里取图</a>',
    "queued": '收到，前面还有 {ahead} 个问题，按顺序回答。<a href="{link}">点这里取这一个的回答</a>',
    "too_many": '已有 {waiting} 个问题在排队，这一个没有收下。等前面的答完再发给我吧。<a href="{link}">取最早的回答</a>',
    "resting": '问的人太多，大约 {minutes} 分钟后接着回答，问题已经记下，不用再发。<a href="{link}">到时点这里取回答</a>',
    "failed_resting": '问的人太多，大约 {minutes} 分钟后才能回答。<a href="{link}">到时点这里再问一次</a>',
    "failed_exhausted": '现在没有可用的模型，要等管理员处理。<a href="{link}">晚些时候点这里再问一次</a>',
    "failed_refused": '模型不接受这个问题，可能太长，或者内容不合适。换个说法再发，或者<a href="{link}">点这里原样再问一次</a>',
    "failed_unreachable": '连不上模型。<a href="{link}">点这里再问一次</a>',
    "failed_timeout": '模型想得太久，没有答出来。<a href="{link}">点这里再问一次</a>，或者把问题拆小一些。',
    "failed_truncated": '回答在路上断了，不完整，所以没有给你。<a href="{link}">点这里再问一次</a>',
    "failed_empty": '模型什么也没说就到了长度上限。问得短一些，或者<a href="{link}">点这里再问一次</a>',
    "failed_filtered": '回答里有不能显示的内容，所以没有给你。换个说法再发，或者<a href="{link}">点这里再问一次</a>',
    "failed_blind": '现在的模型看不了图片。请用文字告诉我，或者<a href="{link}">点这里再试一次</a>',
    "failed_photo": (
        '这张图片没能取到，可能太大，或者不是图片。请重新发一次，用文字告诉我，或者<a href="{link}">点这里再试一次</a>'
    ),
    "failed_drawing": '这张图没有画成，内容可能不合适。换个说法再发，或者<a href="{link}">点这里再画一次</a>',
    "failed_interrupted": '想这个问题的时候服务重启了两次。<a href="{link}">点这里再问一次</a>',
    "failed_crashed": '我这边出错了，已经记进日志。<a href="{link}">点这里再问一次</a>',
    "more_pages": '<a href="{link}">未完，点这里看下一页</a>',
    "part_more": '<a href="{link}">还在写，点这里看后面的</a>',
    "ended": "（以上就是全部回答）",
    "picture": '画好了，{hours} 小时内有效：<a href="{url}">点这里看图</a>',
    "more_waiting": '<a href="{link}">还有 {count} 条回答，点这里看</a>',
    "nothing_waiting": "没有等着你看的回答。直接发文字就可以提问。",
    "cleared": "好的，前面聊过的都忘了。重新开始吧。",
    "your_id": "{openid}",
    "status": "在回答的问题：{waiting}\n可以取的回答：{ready}\n今天问过：{asked}\n现在的角色：{persona}",
    "no_persona": "默认",
    "personas": "可选的角色：{names}\n发送「{role} 名字」换一个，「{role} {default}」换回来。",
    "persona_chosen": "好的，从现在起由「{persona}」回答。",
    "persona_default": "好的，换回默认的角色了。",
    "draw_what": "要画什么？比如「{draw} 一只在雨里骑车的猫」。",
    "photo_question": "请看这张照片：说说里面有什么；如果是题目，请解答；如果是文字，请说明大意。",
    "too_fast": "问得太快了，一分钟最多 {limit} 个问题。请过一分钟再发。",
    "no_questions_left": "今天的 {limit} 个问题已经问完了，明天再来吧。",
    "no_drawings_left": "今天的 {limit} 张图已经画完了，明天再来吧。文字问题还可以问。",
    "not_admitted": "这个公众号只回答指定的人。你的 ID 是 {openid}，可以发给管理员。",
    "forbidden_words": "这条消息里有不能谈的词，所以没有提交。换个说法再发吧。",
    "admin_status": "密钥 {usable}/{keys} 可用，{pending} 个问题还没有取走。",
    "admin_key": "密钥 {key}：{state}",
    "admin_no_key": "没有叫 {key} 的密钥。现有：{keys}",
    "admin_blocked": "已拉黑 {openid}。",
    "admin_unblocked": "已取消拉黑 {openid}。",
    "admin_no_openid": "后面要跟 ID，对方发送「获取id」就能看到。",
    "admin_notices_on": "好的，密钥失效、全部不可用时会通知你。再发一次就关掉。",
    "admin_notices_off": "好的，不再通知你。",
    "admin_notices_impossible": "这个公众号不能主动发消息（要认证，并设置 app_secret），所以没法通知你。",
    "notice_key": "密钥 {key}：{state}。{advice}到状态页看原因。",
    "notice_no_key": "现在没有一把密钥可用，问题都在等。到状态页看原因。",
    "notice_key_again": "又有密钥可用了，在等的问题会接着回答。",
    "notice_upstream_down": "上游 {upstream} 暂停使用。{reason}恢复了会再通知。",
    "notice_upstream_up": "上游 {upstream} 恢复了。",
    "voice": "这条语音没有带来文字，我听不懂。请发文字给我。",
    "image": "这张图片没有带来地址，我看不到。请重新发一次，或者用文字告诉我。",
    "location": "我还用不上位置。请用文字告诉我。",
    "link": "我打不开链接。请把想问的内容用文字发给我。",
    "video": "我还看不懂视频。请用文字告诉我。",
    "other": "我还看不懂这种消息。请发文字给我。",
    "not_kept": "刚才没能记下这条消息，所以没有处理。请过一会儿再发一次。",
    "echo": "问：{question}",
    "word_more": "继续",
    "word_clear": "清空",
    "word_help": "帮助",
    "word_id": "获取id",
    "word_status": "状态",
    "word_persona": "角色",
    "word_default": "默认",
    "word_disable": "停用",
    "word_enable": "启用",
    "word_block": "拉黑",
    "word_unblock": "取消拉黑",
    "word_notices": "通知",
}
