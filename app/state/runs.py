"""What is chosen on the Runs page: filters, a run, an image that changed its answer, a format."""

from collections.abc import Hashable, Mapping, Sequence

from app.state.entry import Entry, Linked, number
from quant.history.recipe import Recipe
from quant.report.exported import Exported

# Keys of widgets.
MODEL_FILTER = "runs_model"
OBJECTIVE_FILTER = "runs_objective"
STATE_FILTER = "runs_state"
SEARCH = "runs_search"
TABLE = "runs_table"
NOTE = "run_note"
BITS_OF = "runs_bits_of"
CHANGES = "runs_changes"
CHANGED_PAGE = "runs_page"
CHANGED_STRIP = "runs_changed"
EXPLAINED = "runs_explained"
DIVIDER = "runs_divider"
FORMAT = "export_format"  # of what is taken away, on the Budget page too

# The number of the chosen run.
RUN: Linked[int | None] = Linked("_run", None, parameter="run", read=number)
# Two configurations, and the place of the image chosen among those that both answered.
CHANGED: Entry[tuple[Hashable, int] | None] = Entry("_changed_image", None)
# A run's recipe, for the Budget page to take its allocation from.
HANDED: Entry[Recipe | None] = Entry("_handed_over", None)

# What was exported in this session, by the key of its recipe and the format.
EXPORTED: Entry[Mapping[tuple[str, str], Exported]] = Entry("_exported", {})

# The runs of the report that was asked for last, and the key of its job.
REPORT: Entry[tuple[tuple[int, ...], Hashable] | None] = Entry("_report", None)


def image(of: Hashable) -> int | None:
    """Return the place of the image chosen in a comparison; another comparison has another one."""
    chosen = CHANGED.get()
    return chosen[1] if chosen is not None and chosen[0] == of else None


def exported(recipe: Recipe) -> Sequence[Exported]:
    """Return what was exported of a recipe; ValueError where there is no such preset any more."""
    return [file for (key, _), file in EXPORTED.get().items() if key == recipe.key]
