"""Changing routes.yaml while requests run: the file, what one config needs to be ready, and the swap."""
