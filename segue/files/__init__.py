"""What callers upload: taken in, read once, kept while anybody needs it.  Nothing here knows a protocol."""
