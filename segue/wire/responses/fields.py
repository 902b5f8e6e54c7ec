"""Every documented field of a request for a response, and what becomes of it here.

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
    "input": Field(
        "used", "a string, or items: messages with input_image or without, function calls and their outputs, reasoning"
    ),
    "input[].partial": Field("used", "an extension: on the last item, an assistant's message, as in chat completions"),
    "instructions": Field("used", "a system message before all others; not kept for the next response"),
    "previous_response_id": Field("used", "a response of the same workspace that is still kept"),
    "store": Field("used", "true when absent; false: the response is not kept"),
    "stream": USED,
    "temperature": USED,
    "top_p": USED,
    "top_k": Field("used", "as in chat completions"),
    "presence_penalty": Field("used", "as in chat completions"),
    "frequency_penalty": Field("used", "as in chat completions"),
    "repetition_penalty": Field("used", "as in chat completions"),
    "seed": Field("used", "as in chat completions"),
    "stop": Field("used", "as in chat completions"),
    "max_output_tokens": USED,
    "tools": Field("used", "functions; tools of the hosted service are refused"),
    "tool_choice": Field("used", "auto, none, required, or one function"),
    "parallel_tool_calls": Field("used", "true when absent: several calls"),
    "text": USED,
    "text.format": Field("used", "text, json_object or json_schema"),
    "enable_thinking": USED,
    "thinking_budget": USED,
    "metadata": Field("used", "comes back with the response"),
    "deterministic": Field("used", "an extension: the same bytes whatever else the server is doing"),
    "background": Field("refused", "true is refused: a response is made while its caller waits"),
    "conversation": Field("refused", "no conversations are kept beside responses"),
    "prompt": Field("refused", "no prompts are kept"),
    "reasoning": Field("ignored", "a switch of models that are not served here"),
    "truncation": Field("ignored", "nothing is ever cut from a conversation"),
    "include": Field("ignored", "there is nothing more to include"),
    "max_tool_calls": Field("ignored", "of tools of the hosted service"),
    "top_logprobs": Field("ignored", "log probabilities are told by the other endpoints"),
    "stream_options": Field("ignored", "the last event always has the usage"),
    "user": HOSTED,
    "safety_identifier": HOSTED,
    "prompt_cache_key": HOSTED,
    "service_tier": HOSTED,
}
