"""What `make bench` runs: Paceline beside a plain Celery sender, and its latency, memory and enqueue rate."""
