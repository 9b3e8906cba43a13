"""The tests: `python -m tests` runs them all, `python -m tests -k room` those with "room" in their name."""
