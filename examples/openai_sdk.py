"""The `openai` SDK: a stream that goes on from a prefix."""

import os

from openai import OpenAI

client = OpenAI(
    api_key=os.environ["DASHSCOPE_API_KEY"],
    base_url=os.environ.get("SEGUE_URL", "http://127.0.0.1:8000") + "/compatible-mode/v1",
)
prefix = "def fib(n):\n    if n <= 1:\n        ret"
stream = client.chat.completions.create(
    model="qwen-plus",
    messages=[
        {"role": "user", "content": "Complete this Fibonacci function. Add nothing else."},
        {"role": "assistant", "content": prefix, "partial": True},
    ],
    max_tokens=32,
    stream=True,
)
print(prefix, end="")
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
