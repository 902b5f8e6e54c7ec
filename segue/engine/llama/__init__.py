"""The embedded engine: llama.cpp in a supervised child process, many answers in one batch."""
