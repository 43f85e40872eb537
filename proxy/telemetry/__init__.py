"""Every metric, the log line of a request, and its trace."""
