"""The OpenAI-compatible protocol: /compatible-mode/v1."""
