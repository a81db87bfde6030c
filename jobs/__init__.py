"""What a job is: rows, states, leases and files. No web, no torch."""
