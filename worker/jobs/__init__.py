"""Jobs: what a provider does over time, step by step."""
