import os
import subprocess
import sys

import pytest


def test_what_native_code_prints_does_not_reach_standard_output(repository):
    program = """
import ctypes
from assets.outputs import Output
from assets.terminal import start, write_json

def main(arguments):
    ctypes.CDLL(None).puts(b"a message of the solver")
    write_json({"answer": 1}, Output("-"))
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


# The package without what its `__init__` imports: PyTorch takes seconds.
ALONE = """
import sys, types
sys.modules["assets"] = types.ModuleType("assets")
sys.modules["assets"].__path__ = ["assets"]
"""
COMMAND = f"""{ALONE}
from assets.terminal import choose, note, print_progress, start

class Command:
    SAYS = "says much"
    def add(parser):
        parser.add_argument("--lines", type=int, default=1)
        parser.add_argument("--text", default="a line")
    def run(options):
        report = print_progress("work")
        for done in range(11):
            report(done, 10)
        return None, "\\n".join([options.text] * options.lines)

start(lambda words: choose("p", "d", {{"say": Command}}, words))
"""
QUIET = ""
FULL = "bitlens: standard output cannot be written (No space left on device): send it elsewhere\n"
CLOSED = "bitlens: standard output is closed: send it to a file, or to /dev/null\n"
LONG = "--lines 100000"  # more than a pipe holds


@pytest.fixture
def shell(repository, tmp_path):
    """Run a line of bash in which `p` is the command; return its output, errors and exit codes."""
    (tmp_path / "p.py").write_text(COMMAND)

    def run(line, **environment):
        command = f'p() {{ {sys.executable} {tmp_path}/p.py say "$@"; }}'
        script = f'{command}; {line}; echo "${{PIPESTATUS[*]}}" >&9'
        done = subprocess.run(
            ["bash", "-c", f"exec 9>{tmp_path}/codes; {script}"],
            cwd=repository,
            capture_output=True,
            check=False,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(repository), **environment},
        )
        codes = [int(code) for code in (tmp_path / "codes").read_text().split()]
        return done.stdout, done.stderr.decode(), codes

    return run


@pytest.mark.parametrize(
    ("line", "printed", "error", "codes"),
    [
        ("p 2>/dev/null | true", b"", QUIET, {0, 141}),  # 0 where `true` was still there
        (f"p {LONG} 2>/dev/null | true", b"", QUIET, {141}),
        (f"p {LONG} 2>/dev/null | head -1", b"a line\n", QUIET, {141}),
        ("p --help | true", b"", QUIET, {0, 141}),
        ("p 2>&1 >/dev/full | tail -1", FULL.encode(), QUIET, {2}),
        (f"p {LONG} 2>&1 >/dev/full | tail -1", FULL.encode(), QUIET, {2}),
        ("p --help >/dev/full", b"", FULL, {2}),
        ("p >&-", b"", CLOSED, {2}),
        (f"p {LONG} >&-", b"", CLOSED, {2}),
        ("p 2>&-", b"a line\n", QUIET, {0}),
        ("p 2>/dev/full", b"a line\n", QUIET, {0}),
        ("p 2>&- >&-", b"", QUIET, {2}),
        ("p <&- 2>/dev/null", b"a line\n", QUIET, {0}),
        ("p 2> >(true)", b"a line\n", QUIET, {0}),
    ],
)
def test_streams_that_are_closed_full_or_left(shell, line, printed, error, codes):
    out, err, (code, *_) = shell(line)
    assert (out, err) == (printed, error)
    assert code in codes


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "en_US.ISO-8859-1", "PYTHONIOENCODING": "latin-1:strict"},
    ],
    ids=lambda environment: " ".join(environment.values()),
)
def test_any_text_is_printed_in_any_locale(shell, environment):
    out, _, (code, *_) = shell("p --text $'\\xff and \\xc3\\xbc'", **environment)
    assert code == 0
    assert b"\\udcff and" in out
    assert out.endswith(("ü\n".encode(), b"\\udcc3\\udcbc\n"))


def test_told_to_end_a_command_leaves_nothing_behind(repository, tmp_path):
    program = f"""{ALONE}
import os, tempfile, time
from assets.terminal import start

def main(arguments):
    with tempfile.TemporaryDirectory():
        os.write(2, b"working")
        time.sleep(60)

start(main)
"""
    done = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=repository,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.stderr.read(7) == b"working"
    assert len(list(tmp_path.iterdir())) == 1
    done.terminate()
    assert (done.wait(30), done.stderr.read()) == (143, b"")
    assert list(tmp_path.iterdir()) == []
    done.stderr.close()
