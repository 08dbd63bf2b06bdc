"""Where Bitlens keeps what it made."""

from pathlib import Path

import pytest

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
