"""Chat templates in our own words, each with a habit that has broken prefix continuation elsewhere."""

from __future__ import annotations

from segue.core.generation import Ability, ModelCard

CHATML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>")
QWEN3_TOKENS = (*CHATML_TOKENS, "<think>", "</think>", "<tool_response>", "</tool_response>")
LLAMA_TOKENS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")

# Adds a system turn of its own, prints tools as JSON and tool calls from parsed arguments.
QWEN25 = """\
{%- set first = messages[0].content if messages[0].role == 'system' else 'Be helpful.' %}
{{- '<|im_start|>system\\n' + first }}
{%- if tools %}
    {{- '\\n# Tools\\n<tools>' }}
    {%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}
    {{- '\\n</tools>' }}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'assistant' and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for call in message.tool_calls %}
            {%- set call = call.function %}
            {{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
            {{- call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

# Reads old answers for thoughts and drops them; opens the turn behind an empty thought when not thinking.
QWEN3 = """\
{%- macro shown(content) %}{%- if content is string %}{{- content }}{%- endif %}{%- endmacro %}
{%- for message in messages %}
    {%- set content = shown(message.content) | trim %}
    {%- if message.role == 'assistant' %}
        {%- if '</think>' in content %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

# Prints its first token, trims every turn, wants turns to alternate, tells the date, makes loops jump.
LLAMA31 = """\
{{- bos_token }}
{%- set date = strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + date + '<|eot_id|>' }}
{%- for message in messages %}
    {%- if message.role == 'system' %}{% continue %}{% endif %}
    {%- if loop.index0 > 0 and messages[loop.index0 - 1].role == message.role %}
        {{- raise_exception('Conversation roles must alternate') }}
    {%- endif %}
    {%- generation %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
    {%- endgeneration %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
"""

# No dashes, new lines inside the strings.
SMOLLM2 = """\
{% for message in messages %}{% if loop.first and message['role'] != 'system' %}{{ '<|im_start|>system
You are small.<|im_end|>
' }}{% endif %}{{ '<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""


def card(
    name: str,
    template: str,
    control_tokens: tuple[str, ...],
    bos_token: str = "",
    abilities: frozenset[Ability] = frozenset({"partial", "tools"}),
) -> ModelCard:
    return ModelCard(
        name=name,
        context_tokens=4096,
        output_tokens_max=512,
        output_tokens_default=128,
        template=template,
        bos_token=bos_token,
        eos_token=control_tokens[0],
        control_tokens=control_tokens,
        abilities=abilities,
    )


CARDS = {
    "qwen2.5": card("qwen2.5", QWEN25, CHATML_TOKENS),
    "qwen3": card("qwen3", QWEN3, QWEN3_TOKENS),
    "llama-3.1": card("llama-3.1", LLAMA31, LLAMA_TOKENS, bos_token="<|begin_of_text|>"),
    "smollm2": card("smollm2", SMOLLM2, CHATML_TOKENS[:3]),
}
