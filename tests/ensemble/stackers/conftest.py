"""Reference weights, as the first-level networks get them."""

from tests.models.conftest import set_weights  # noqa: F401
