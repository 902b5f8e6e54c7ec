"""Every documented field of a native text generation request, and what becomes of it here.

A field that is not in this table is unknown: it is read past and listed, as ignored ones are.
Tests and the compatibility table read this; every field has its path.
"""

from __future__ import annotations

from collections.abc import Mapping

from segue.wire.fields import Field

USED = Field("used")
NOT_SERVED = Field("ignored", "a switch of models that are not served here")
UNDOCUMENTED = Field("ignored", "not documented")

FIELDS: Mapping[str, Field] = {
    "model": USED,
    "input": USED,
    "input.messages": USED,
    "input.messages[].role": Field("used", "system, user, assistant, tool, function, plugin; any other is refused"),
    "input.messages[].content": Field("used", "a string or parts; pictures and videos at the multimodal endpoint only"),
    "input.messages[].content[].image": Field("used", "a URL, a data URI, an `oss://` or `fileid://` address"),
    "input.messages[].content[].video": Field("used", "the same of a video, or a list of frames"),
    "input.messages[].content[].min_pixels": Field("used", "beside a picture"),
    "input.messages[].content[].max_pixels": Field("used", "up to what the model can take"),
    "input.messages[].content[].total_pixels": Field("used", "of all frames of a video together"),
    "input.messages[].content[].fps": Field(
        "used", "0.1 to 10, 2 when absent: how many frames of a second are looked at"
    ),
    "input.messages[].content[].max_frames": Field("used", "up to what the model can take"),
    "input.messages[].name": USED,
    "input.messages[].partial": Field("used", "on the last message, an assistant's; elsewhere ignored and listed"),
    "input.messages[].tool_calls": USED,
    "input.messages[].tool_call_id": USED,
    "input.messages[].reasoning_content": Field("used", "with partial, the thought that is gone on with: an extension"),
    "input.prompt": USED,
    "input.history": Field("used", "with prompt; beside messages it is ignored and listed"),
    "parameters": USED,
    "parameters.result_format": Field("used", "text when absent; without effect at the multimodal endpoint"),
    "parameters.incremental_output": Field(
        "used", "of streams only; when absent false, and true where the model thinks"
    ),
    "parameters.temperature": USED,
    "parameters.top_p": USED,
    "parameters.top_k": USED,
    "parameters.repetition_penalty": USED,
    "parameters.presence_penalty": USED,
    "parameters.frequency_penalty": Field("used", "not documented for this protocol; here as in the other one"),
    "parameters.seed": USED,
    "parameters.stop": USED,
    "parameters.max_tokens": USED,
    "parameters.max_completion_tokens": Field("used", "another name for max_tokens; of both, the smaller counts"),
    "parameters.n": Field("used", "above 1 only with result_format message"),
    "parameters.logprobs": Field("used", "written with result_format message"),
    "parameters.top_logprobs": Field("used", "without logprobs it has nothing to add to"),
    "parameters.enable_thinking": Field("used", "refused with a prefix; without effect on a model that cannot think"),
    "parameters.thinking_budget": Field(
        "used", "the most tokens of the thought; then it is closed, and the answer follows"
    ),
    "parameters.tools": Field("used", "only with result_format message"),
    "parameters.tool_choice": USED,
    "parameters.parallel_tool_calls": Field("used", "false when absent: at most one call"),
    "parameters.response_format": USED,
    "parameters.regex": Field("used", "an extension: the whole answer, prefix included, matches it"),
    "parameters.grammar": Field("used", "an extension: the same for a grammar in Lark's form"),
    "parameters.deterministic": Field("used", "an extension: the same bytes whatever else the server is doing"),
    "parameters.segue_citations": Field("used", "an extension: what was read of the documents comes with the answer"),
    "parameters.enable_search": Field("refused", "true is refused, for no web search is served"),
    "parameters.search_options": Field("ignored", "shapes a search, and a search is refused"),
    "parameters.preserve_thinking": NOT_SERVED,
    "parameters.reasoning_effort": NOT_SERVED,
    "parameters.clear_thinking": NOT_SERVED,
    "parameters.tool_stream": NOT_SERVED,
    "parameters.enable_code_interpreter": NOT_SERVED,
    "parameters.vl_high_resolution_images": Field("used", "as many pixels of each picture as the model can take"),
    "parameters.vl_enable_image_hw_output": NOT_SERVED,
    "parameters.max_input_tokens": NOT_SERVED,
    "parameters.translation_options": NOT_SERVED,
    "parameters.logit_bias": NOT_SERVED,
    "parameters.stream": Field("ignored", "a stream is asked for by header"),
    "parameters.plugins": UNDOCUMENTED,
    "parameters.stop_words": UNDOCUMENTED,
}
