"""The gateway: OpenAI's API, callers, and the pool of keys. Knows neither the bot nor the machine."""
