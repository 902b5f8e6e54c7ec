"""The OpenAI Responses protocol: /compatible-mode/v1/responses."""
