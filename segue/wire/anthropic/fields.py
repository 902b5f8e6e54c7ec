"""Every documented field of a message request, and what becomes of it here.

A field that is not in this table is unknown: it is read past and listed, as ignored ones are.
Tests and the compatibility table read this; nested fields have their path.
"""

from __future__ import annotations

from collections.abc import Mapping

from segue.wire.fields import Field

USED = Field("used")
HOSTED = Field("ignored", "accounting or storage of the hosted service")

FIELDS: Mapping[str, Field] = {
    "model": USED,
    "messages": USED,
    "messages[].role": Field("used", "user or assistant; an assistant's last message is a prefix"),
    "messages[].content": Field(
        "used", "a string, or blocks: text, thinking, tool_use, tool_result, a user's image; other media are refused"
    ),
    "max_tokens": Field("used", "required, but to count tokens"),
    "system": Field("used", "a string or text blocks"),
    "stream": USED,
    "temperature": Field("used", "below 2, as the service documents"),
    "top_p": USED,
    "top_k": USED,
    "stop_sequences": Field("used", "an answer that met one says end_turn, as the service's do"),
    "thinking": USED,
    "thinking.type": Field("used", "enabled, adaptive (the same) or disabled"),
    "thinking.budget_tokens": Field("used", "the most tokens of the thought; it may be any positive number"),
    "tools": Field("used", "functions with an input_schema; tools of the hosted service are refused"),
    "tool_choice": USED,
    "tool_choice.type": Field("used", "auto, any, none or tool"),
    "tool_choice.name": USED,
    "tool_choice.disable_parallel_tool_use": Field("used", "false when absent: several calls"),
    "output_config": USED,
    "output_config.format": Field("used", "json_schema"),
    "seed": Field("used", "an extension"),
    "deterministic": Field("used", "an extension: the same bytes whatever else the server is doing"),
    "metadata": HOSTED,
    "service_tier": HOSTED,
    "container": HOSTED,
    "mcp_servers": HOSTED,
    "cache_control": Field("ignored", "prompts are remembered anyway"),
}
