"""Plans, events and answers as text for a terminal. Pure."""
