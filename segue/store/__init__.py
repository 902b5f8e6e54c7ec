"""What survives a restart: rows in a database, bytes in a folder.  Nothing here knows a protocol or a parser."""
