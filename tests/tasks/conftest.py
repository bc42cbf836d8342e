"""Finished runs that make images, for every test about them."""

import pytest

from tests.tasks.generators import ARGUMENTS, train


@pytest.fixture(scope="package")
def root(tmp_path_factory, _quick_compilation):
    """A directory with the runs gan and diffusion, in which tests make more."""
    root = tmp_path_factory.mktemp("generation")
    for method in ARGUMENTS:
        train(root, method, method)
    return root
