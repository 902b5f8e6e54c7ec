"""The `anthropic` SDK: a message that goes on from the assistant's last turn."""

import os

from anthropic import Anthropic

client = Anthropic(
    api_key=os.environ["DASHSCOPE_API_KEY"],
    base_url=os.environ.get("SEGUE_URL", "http://127.0.0.1:8000") + "/apps/anthropic",
)
prefix = "The capital of Fran"
message = client.messages.create(
    model="qwen-plus",
    max_tokens=24,
    messages=[
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": prefix},
    ],
)
print(prefix + message.content[0].text)
