"""Ray Serve through its REST API, and a local Ray."""
