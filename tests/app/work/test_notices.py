"""What a page says of kept files that could not be used."""

from types import SimpleNamespace

import pytest

from app.work import models


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ([], None),
        (["/a/a4.safetensors is damaged: it is made again"], "it was made again"),
        (["/a/a4.safetensors cannot be written; calibrations are used now, and not kept"], "kept"),
    ],
)
def test_what_became_of_kept_files_is_said_without_their_paths(
    notes: list[str], said: str | None
) -> None:
    calibrating = SimpleNamespace(key=("made up", *notes))
    assert models.notice_of(calibrating) is None  # type: ignore[arg-type]
    kept = models.memory("calibrations", 3)
    kept.get(calibrating.key, lambda: SimpleNamespace(notes=notes))
    notice = models.notice_of(calibrating)  # type: ignore[arg-type]
    assert notice == said or (said in notice and "/" not in notice)
