"""LangChain's `langchain-openai`: a chain whose answer goes on from a prefix."""

import os

from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model="qwen-plus",
    api_key=os.environ["DASHSCOPE_API_KEY"],
    base_url=os.environ.get("SEGUE_URL", "http://127.0.0.1:8000") + "/compatible-mode/v1",
    max_tokens=24,
    extra_body={"continue_final_message": True, "add_generation_prompt": False},
)
prefix = "The capital of Fran"
answer = model.invoke([("user", "What is the capital of France?"), ("assistant", prefix)])
print(prefix + answer.content)
