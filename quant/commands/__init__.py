"""The commands of `python -m quant`: each file says what it does, asks for arguments, and runs."""
