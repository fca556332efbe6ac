"""Errors and warnings: their families, and what one of them keeps of a call."""

import pytest

import pwgf_sym as ps
from pwgf_sym import errors

KINDS = [getattr(errors, name) for name in errors.__all__ if name != "warn"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_class_is_of_one_family(kind):
    assert issubclass(kind, (ps.PwgfError, errors.PwgfWarning))
    assert issubclass(kind, Warning) == kind.__name__.endswith("Warning")


def test_one_filter_takes_all_warnings():
    with pytest.warns(errors.PwgfWarning, match="a folder"):
        errors.warn("a folder", errors.CacheWarning)
