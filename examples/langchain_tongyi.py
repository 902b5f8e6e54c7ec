"""LangChain's Tongyi (`langchain-community`): it speaks the native protocol, through the `dashscope` SDK."""

import os

import dashscope
from langchain_community.chat_models.tongyi import ChatTongyi

dashscope.base_http_api_url = os.environ.get("SEGUE_URL", "http://127.0.0.1:8000") + "/api/v1"
model = ChatTongyi(model="qwen-plus", api_key=os.environ["DASHSCOPE_API_KEY"], model_kwargs={"max_tokens": 40})
print(model.invoke("Name three colours.").content)
for chunk in model.stream("Count to five."):
    print(chunk.content, end="", flush=True)
print()
