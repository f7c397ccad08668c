"""What runs inside Ray: the apps that serve an endpoint. Imports nothing else of lac."""
