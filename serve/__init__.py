"""What is asked: HTTP routes, wire schemas, auth, errors, the console."""
