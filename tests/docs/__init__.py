"""What stands in docs/ is true."""
