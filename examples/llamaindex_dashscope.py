"""LlamaIndex (`llama-index-llms-dashscope`): it speaks the native protocol."""

import os

import dashscope
from llama_index.core.llms import ChatMessage
from llama_index.llms.dashscope import DashScope

dashscope.base_http_api_url = os.environ.get("SEGUE_URL", "http://127.0.0.1:8000") + "/api/v1"
model = DashScope(model_name="qwen-plus", api_key=os.environ["DASHSCOPE_API_KEY"], max_tokens=40)
print(model.chat([ChatMessage(role="user", content="Name three colours.")]).message.content)
