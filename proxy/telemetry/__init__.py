"""Every metric, and the log line of a request."""
