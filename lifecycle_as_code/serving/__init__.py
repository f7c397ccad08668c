"""What runs inside Ray: the apps that serve an endpoint. Imports nothing of ours but itself and diagnostics."""
