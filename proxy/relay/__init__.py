"""The wire: open a reply at an upstream, copy it to the client, and free both whoever leaves first."""
