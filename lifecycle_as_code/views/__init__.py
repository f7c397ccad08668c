"""Plans, events, drift and history as text, a folder or module for each format. Pure: a view never decides,
prints or reads a clock. A function is named after the noun that it renders."""
