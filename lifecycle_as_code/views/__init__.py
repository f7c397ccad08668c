"""Plans, events and drift as text. Pure: a view never decides, prints or reads a clock."""
