"""What the page needs besides quantities as reports write them."""

from app.look import units
from app.text import Markdown


def test_a_percentage_stays_on_one_line() -> None:
    assert units.unbroken("at 56.7 % of 4") == "at 56.7\u00a0% of 4"
    assert isinstance(units.unbroken(Markdown("56.7 %")), Markdown)
