"""The bot: conversations and WeChat. Knows neither the gateway nor the machine."""
