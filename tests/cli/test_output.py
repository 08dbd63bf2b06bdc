import subprocess
import sys


def test_what_native_code_prints_does_not_reach_standard_output(repository):
    program = """
import ctypes
from assets.terminal import start, write_json

def main(arguments):
    ctypes.CDLL(None).puts(b"a message of the solver")
    write_json({"answer": 1}, "-")
    return 3

start(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == '{\n  "answer": 1\n}\n'
    assert "a message of the solver" in done.stderr
    assert done.returncode == 3
