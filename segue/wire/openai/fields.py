"""Every documented field of a chat completion request, and what becomes of it here.

A field that is not in this table is unknown: it is read past and listed, as ignored ones are.
Tests and the compatibility table read this; nested fields have their path.
"""

from __future__ import annotations

from collections.abc import Mapping

from segue.wire.fields import Field

USED = Field("used")
NOT_SERVED = Field("ignored", "a switch of models that are not served here")
HOSTED = Field("ignored", "accounting or storage of the hosted service")
ALSO_IGNORED = Field("ignored", "the hosted service ignores it as well")

FIELDS: Mapping[str, Field] = {
    "model": USED,
    "messages": USED,
    "messages[].role": Field("used", "system, user, assistant, tool, function; any other is refused"),
    "messages[].content": Field("used", "a string, or parts: text, and a user's pictures and videos"),
    "messages[].content[].image_url": Field(
        "used", "a URL, a data URI or `fileid://` and a file's id; `image` likewise"
    ),
    "messages[].content[].video_url": Field("used", "the same of a video"),
    "messages[].content[].video": Field("used", "a URL, or a list of frames"),
    "messages[].content[].min_pixels": Field("used", "beside a picture, or with its URL"),
    "messages[].content[].max_pixels": Field("used", "up to what the model can take"),
    "messages[].content[].total_pixels": Field("used", "of all frames of a video together"),
    "messages[].content[].fps": Field("used", "0.1 to 10, 2 when absent: how many frames of a second are looked at"),
    "messages[].content[].max_frames": Field("used", "up to what the model can take"),
    "messages[].name": USED,
    "messages[].partial": Field("used", "on the last message, an assistant's; elsewhere ignored and listed"),
    "messages[].prefix": Field("used", "DeepSeek's and Mistral's name for partial"),
    "messages[].tool_calls": USED,
    "messages[].tool_call_id": USED,
    "messages[].reasoning_content": Field("used", "with partial, the thought that is gone on with: an extension"),
    "continue_final_message": Field("used", "vLLM's and SGLang's name for partial, beside the messages"),
    "add_generation_prompt": Field("used", "must be the opposite of continue_final_message or partial"),
    "stream": USED,
    "stream_options": USED,
    "stream_options.include_usage": USED,
    "temperature": USED,
    "top_p": USED,
    "top_k": USED,
    "presence_penalty": USED,
    "frequency_penalty": Field("used", "the hosted service ignores it; here it does what OpenAI documents"),
    "repetition_penalty": USED,
    "max_tokens": USED,
    "max_completion_tokens": Field("used", "another name for max_tokens; of both, the smaller counts"),
    "n": USED,
    "seed": USED,
    "stop": USED,
    "logprobs": USED,
    "top_logprobs": Field("used", "without logprobs it has nothing to add to"),
    "tools": USED,
    "tool_choice": USED,
    "parallel_tool_calls": Field("used", "false when absent: at most one call"),
    "response_format": USED,
    "enable_thinking": Field("used", "refused with a prefix; without effect on a model that cannot think"),
    "thinking_budget": Field("used", "the most tokens of the thought; then it is closed, and the answer follows"),
    "regex": Field("used", "an extension: the whole answer, prefix included, matches it"),
    "grammar": Field("used", "an extension: the same for a grammar in Lark's form"),
    "deterministic": Field("used", "an extension: the same bytes whatever else the server is doing"),
    "segue_citations": Field("used", "an extension: what was read of the documents comes with the answer"),
    "enable_search": Field("refused", "true is refused, for no web search is served"),
    "web_search_options": Field("refused", "no web search is served"),
    "search_options": Field("ignored", "shapes a search, and a search is refused"),
    "preserve_thinking": NOT_SERVED,
    "reasoning_effort": NOT_SERVED,
    "clear_thinking": NOT_SERVED,
    "enable_code_interpreter": NOT_SERVED,
    "vl_high_resolution_images": Field("used", "as many pixels of each picture as the model can take"),
    "vl_enable_image_hw_output": NOT_SERVED,
    "max_input_tokens": NOT_SERVED,
    "translation_options": NOT_SERVED,
    "tool_stream": NOT_SERVED,
    "modalities": NOT_SERVED,
    "audio": NOT_SERVED,
    "user": HOSTED,
    "metadata": HOSTED,
    "store": HOSTED,
    "service_tier": HOSTED,
    "prompt_cache_key": HOSTED,
    "safety_identifier": HOSTED,
    "prediction": ALSO_IGNORED,
    "logit_bias": ALSO_IGNORED,
    "verbosity": ALSO_IGNORED,
    "functions": Field("ignored", "superseded by tools, and not documented for this service"),
    "function_call": Field("ignored", "superseded by tool_choice, and not documented for this service"),
}
