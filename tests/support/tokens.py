"""Tokens that keep, for tests that count what was sent or spent on a machine that may pause at any point."""

# A token lives for half of the guard. With the default, a quarter of a second between the limiter's answer and the wire
# costs a second token, and one more while that is fetched puts the message back.
KEEPING = '[limiter]\nguard = "10s"\n'
