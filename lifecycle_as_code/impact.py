"""What else each change of a plan touches: traffic, capacity, access. Pure."""
