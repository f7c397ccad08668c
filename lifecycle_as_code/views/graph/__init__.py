"""A graph as DOT, Mermaid or an SVG picture. Pure."""
