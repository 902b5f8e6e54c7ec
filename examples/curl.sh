#!/bin/sh
# Both protocols with nothing but curl.
set -eu
url=${SEGUE_URL:-http://127.0.0.1:8000}

# OpenAI-compatible, as a stream.
curl -sSN --fail-with-body "$url/compatible-mode/v1/chat/completions" \
  -H "Authorization: Bearer $DASHSCOPE_API_KEY" -H "Content-Type: application/json" \
  -d '{
    "model": "qwen-plus",
    "messages": [
      {"role": "user", "content": "Count to five."},
      {"role": "assistant", "content": "One, two, th", "partial": true}
    ],
    "max_tokens": 12,
    "stream": true
  }'

# DashScope-native, whole.
curl -sS --fail-with-body "$url/api/v1/services/aigc/text-generation/generation" \
  -H "Authorization: Bearer $DASHSCOPE_API_KEY" -H "Content-Type: application/json" \
  -d '{
    "model": "qwen-plus",
    "input": {
      "messages": [
        {"role": "user", "content": "Count to five."},
        {"role": "assistant", "content": "One, two, th", "partial": true}
      ]
    },
    "parameters": {"result_format": "message", "max_tokens": 12}
  }'
echo
