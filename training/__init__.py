"""What learns: job specs, training backends, and the entry scripts shipped to other machines."""
