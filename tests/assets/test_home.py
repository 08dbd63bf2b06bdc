"""Where Bitlens keeps what it made."""

from pathlib import Path

import pytest

from assets.errors import InputError
from assets.home import home


def test_a_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path / "mine"))
    assert home() == tmp_path / "mine"


def test_a_tilde_is_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITLENS_HOME", "~/kept")
    assert home() == Path.home() / "kept"


@pytest.mark.parametrize("named", [None, ""])
@pytest.mark.parametrize(
    ("platform", "variable", "default"),
    [
        ("linux", "XDG_DATA_HOME", (".local", "share")),
        ("win32", "LOCALAPPDATA", ("AppData", "Local")),
        ("darwin", None, ("Library", "Application Support")),
    ],
)
def test_without_one_it_is_the_platforms_data_folder(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    named: str | None,
    platform: str,
    variable: str | None,
    default: tuple[str, str],
) -> None:
    monkeypatch.delenv("BITLENS_HOME", raising=False)
    if named is not None:
        monkeypatch.setenv("BITLENS_HOME", named)
    monkeypatch.setattr("sys.platform", platform)
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert home() == Path.home().joinpath(*default) / "bitlens"
    if variable is not None:
        monkeypatch.setenv(variable, str(tmp_path))
        assert home() == tmp_path / "bitlens"


@pytest.mark.parametrize("named", [None, "~", "~no-such-user/kept"])
def test_where_there_is_no_home_it_is_said_what_to_set(
    monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    def nobody(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    for name in ("BITLENS_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if named is not None:
        monkeypatch.setenv("BITLENS_HOME", named)
    with pytest.raises(InputError, match="cannot be found: set BITLENS_HOME to a folder"):
        home()


def test_a_folder_that_is_named_from_here_stays_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITLENS_HOME", "kept")
    assert home() == tmp_path / "kept"
