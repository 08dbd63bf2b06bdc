import pytest
import torch

from quant.evaluation.logits import Batched


def limited(most, error):
    """A run that doubles the pixel, and has no memory for more than `most` images."""
    sizes = []

    def run(images):
        sizes.append(len(images))
        if len(images) > most:
            raise error
        return 2 * images.flatten(1)

    return run, sizes


IMAGES = torch.arange(22.0).reshape(11, 2, 1, 1)
CUDA = "CUDA out of memory. Tried to allocate 2 GiB"
CPU = "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"
ERRORS = [
    torch.cuda.OutOfMemoryError("no room"),
    MemoryError(),
    RuntimeError(CUDA),
    RuntimeError(CPU),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("most", [1, 2, 3, 10, 11])
def test_a_batch_without_room_is_run_in_parts(error, most):
    run, sizes = limited(most, error)
    batched = Batched("it", run)
    assert torch.equal(batched(IMAGES), 2 * IMAGES.flatten(1))
    worked = [size for size in sizes if size <= most]
    assert sum(worked) == 11
    sizes.clear()
    assert torch.equal(batched(IMAGES), 2 * IMAGES.flatten(1))
    assert max(sizes) <= most  # the second batch does not try again what failed


def test_no_room_for_one_image_is_said():
    run, sizes = limited(0, MemoryError())
    with pytest.raises(ValueError, match="W4A4: there is no memory for even one image"):
        Batched("W4A4", run)(IMAGES)
    assert sizes == [11, 5, 2, 1]


def test_other_errors_are_not_taken_for_it():
    run, sizes = limited(3, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        Batched("it", run)(IMAGES)
    assert sizes == [11]


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="W2A2 gives logits that are not finite"):
        Batched("W2A2", lambda images: images.flatten(1) / 0)(IMAGES)


def test_no_gradient_is_kept():
    weight = torch.ones(2, requires_grad=True)
    assert not Batched("it", lambda images: images.flatten(1) * weight)(IMAGES).requires_grad
