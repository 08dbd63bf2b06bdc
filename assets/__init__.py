"""Models, data sets and pictures: the only package that reads a user's files.

Read `pictures`, `models` and `sets`, in this order; `train` is how the bundled weights were made.
`errors` has the error for what a user can put right, `files` opens what a user names, `home` is the
folder of what is kept, `outputs` are the files that commands write, `terminal` is what all command
lines share.
"""

from assets.errors import InputError
from assets.models.load import BUNDLED, LoadedModel, load_model
from assets.pictures.uploads import open_image
from assets.sets.image_set import ImageSet, class_names, load_images
from assets.sets.selection import Draw, batches, take

__all__ = [
    "BUNDLED",
    "Draw",
    "ImageSet",
    "InputError",
    "LoadedModel",
    "batches",
    "class_names",
    "load_images",
    "load_model",
    "open_image",
    "take",
]
