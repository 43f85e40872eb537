"""What every published number was measured with: `make bench`, and `python -m bench.soak`."""
