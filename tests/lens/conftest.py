"""What the tests of the lens run under."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from stored import CONFIG


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """transformers writes to its own log and to progress bars; neither belongs in a test's
    output.
    """
    try:
        from transformers.utils import logging
    except ImportError:
        yield
        return
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    yield
    logging.set_verbosity(level)
    if bars:
        logging.enable_progress_bar()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny Llama's directory with its config.json, and no weights yet."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder
