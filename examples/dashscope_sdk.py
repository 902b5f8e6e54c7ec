"""The `dashscope` SDK: the native protocol, a stream that goes on from a prefix."""

import os

import dashscope

dashscope.base_http_api_url = os.environ.get("SEGUE_URL", "http://127.0.0.1:8000") + "/api/v1"
prefix = "春天来了，大地"
stream = dashscope.Generation.call(
    api_key=os.environ["DASHSCOPE_API_KEY"],
    model="qwen-plus",
    messages=[
        {"role": "user", "content": "请续写“春天来了，大地”，不要加别的内容。"},
        {"role": "assistant", "content": prefix, "partial": True},
    ],
    result_format="message",
    max_tokens=24,
    stream=True,
    incremental_output=True,
)
print(prefix, end="")
for response in stream:
    if response.status_code != 200:
        raise SystemExit(f"{response.code}: {response.message}")
    print(response.output.choices[0].message.content, end="", flush=True)
print()
