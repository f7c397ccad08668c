"""What tests share: real parts, stand-ins, sample data."""
