"""The commands of `python -m lrp`: each file says what it does, adds its arguments, and runs."""
