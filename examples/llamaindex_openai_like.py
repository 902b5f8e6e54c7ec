"""LlamaIndex (`llama-index-llms-openai-like`): chat, and a stream."""

import os

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

model = OpenAILike(
    model="qwen-plus",
    api_key=os.environ["DASHSCOPE_API_KEY"],
    api_base=os.environ.get("SEGUE_URL", "http://127.0.0.1:8000") + "/compatible-mode/v1",
    is_chat_model=True,
    context_window=32768,
    max_tokens=40,
)
print(model.chat([ChatMessage(role="user", content="Name three colours.")]).message.content)
for chunk in model.stream_chat([ChatMessage(role="user", content="Count to five.")]):
    print(chunk.delta, end="", flush=True)
print()
