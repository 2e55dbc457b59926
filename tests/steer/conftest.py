"""What the tests of steering run under: the lens's small models, and transformers kept quiet."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "lens"):
    sys.path.insert(0, str(folder))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """transformers writes to its own log and to progress bars; neither belongs in a test's
    output.
    """
    models = pytest.importorskip("eigenloop.lens.model.loaded")
    pytest.importorskip("transformers", reason="transformers is missing: pip install '.[lens]'")
    with models.quiet():
        yield
