"""One database: its connections, transactions, errors and statements. Nothing here knows a table."""
