"""When an exported model's answers are near enough, on so many images."""

import pytest

from quant.export.check import Comparison


@pytest.mark.parametrize(
    ("equal", "images", "enough"),
    [
        (59, 64, True),  # 92.2 %, up to 96.6 %
        (56, 64, False),  # up to 93.6 %
        (461, 500, False),  # 92.2 % again, up to 94.3 %
        (475, 500, True),
    ],
)
def test_fewer_equal_answers_are_taken_as_far_as_few_images_leave_it_open(
    equal: int, images: int, enough: bool
) -> None:
    found = Comparison(images, 0.4, 0.17, 0.35, equal / images, 0.97)
    if enough:
        return found.check()
    with pytest.raises(ValueError, match="gives other answers than Bitlens"):
        found.check()


def test_logits_further_from_bitlens_than_floats_are_refused_whatever_the_answers() -> None:
    with pytest.raises(ValueError, match="gives other answers than Bitlens"):
        Comparison(64, 0.4, 0.36, 0.35, 1.0, 0.97).check()
