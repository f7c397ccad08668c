"""A plan and a drift as Markdown, for pull requests and issues. Pure."""
