"""Qwen-Agent: an agent with a tool of its own."""

import json
import os
from typing import ClassVar

os.environ.setdefault("QWEN_AGENT_MAX_LLM_CALL_PER_RUN", "4")  # a small model may call again and again

from qwen_agent.agents import Assistant
from qwen_agent.tools.base import BaseTool, register_tool


@register_tool("stock_level")
class StockLevel(BaseTool):
    """How many there are of a thing."""

    description = "How many pieces of an article are in the warehouse."
    parameters: ClassVar = [{"name": "article", "type": "string", "description": "The article.", "required": True}]

    def call(self, params: str, **kwargs: object) -> str:
        return json.dumps({"article": json.loads(params)["article"], "pieces": 42})


model = {
    "model": "qwen-plus",
    "model_type": "oai",
    "model_server": os.environ.get("SEGUE_URL", "http://127.0.0.1:8000") + "/compatible-mode/v1",
    "api_key": os.environ["DASHSCOPE_API_KEY"],
    "generate_cfg": {"temperature": 0.1, "max_tokens": 120, "use_raw_api": True},  # tools as the API has them
}
agent = Assistant(llm=model, function_list=["stock_level"], system_message="Answer in one sentence.")
question = [{"role": "user", "content": "How many lamps are in the warehouse?"}]
*_, said = agent.run(question)  # each piece is the whole list so far
for message in said:
    called = message.get("function_call")
    print(message["role"], "calls " + called["arguments"] if called else message["content"], sep=": ")
