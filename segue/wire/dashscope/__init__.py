"""The DashScope-native protocol: /api/v1."""
