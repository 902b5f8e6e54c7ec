"""Pydantic AI: an answer of a type, forced by its schema."""

import os

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    """A city."""

    name: str
    country: str


url = os.environ.get("SEGUE_URL", "http://127.0.0.1:8000") + "/compatible-mode/v1"
provider = OpenAIProvider(base_url=url, api_key=os.environ["DASHSCOPE_API_KEY"])
agent = Agent(OpenAIChatModel("qwen-plus", provider=provider), output_type=NativeOutput(City))
city = agent.run_sync("Which city is the Eiffel Tower in? Answer as JSON.").output
print(type(city).__name__, city.model_dump())
