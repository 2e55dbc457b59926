"""What is measured, against naive oracles; searches for equal effect; directions."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from steer_models import speaking, tokenizer, unit
from transformers import AutoModel

from eigenloop.lens.model.loaded import load
from eigenloop.steer import (
    Bench,
    Session,
    activation_addition,
    applied,
    contrast,
    cut,
    from_file,
    shipped,
    toward_token,
)
from eigenloop.steer.directions import single_token
from eigenloop.steer.evidence import Evidence, Point, equal_effect, gather, median_interval
from eigenloop.steer.measuring import HIDDEN, vocabulary
from eigenloop.steer.running import forward
from eigenloop.steer.tuning import tune
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")


def ready(model_type: str, **changes):
    model = load(speaking(model_type, **changes), tokenizer=tokenizer())
    first, second = shipped()
    return (
        model,
        cut(model.tokenizer, first, count=24, length=12),
        cut(model.tokenizer, second, count=10, length=12),
    )


def naive_cosines(states: np.ndarray, u: np.ndarray) -> np.ndarray:
    return np.array([[x @ u / np.sqrt(x @ x) for x in prompt] for prompt in states])


def test_a_causal_model_against_a_naive_oracle():
    model, _, prompts = ready("gpt2")
    u, token = unit(32), 40
    bench = Bench.of(model, prompts, u, token=token)
    shift = 0.4 * unit(32, seed=8)
    ids = torch.as_tensor(prompts.ids)
    with torch.no_grad():
        old = model.module(ids, output_hidden_states=True)
    with activation_addition(model, {2: shift}):
        found = bench.measure()
        with torch.no_grad():
            new = model.module(ids)
    words = slice(1, 13)  # [CLS] and [SEP] apart
    seen = []
    handle = model.blocks[2].register_forward_hook(
        lambda m, a, r: seen.append((r[0] if isinstance(r, tuple) else r).numpy())
    )
    with torch.no_grad():
        model.module(ids)
    handle.remove()
    before = seen[0][:, words].astype(np.float64)
    after = before + shift
    np.testing.assert_allclose(found["cosine"], naive_cosines(after, u).mean(1), atol=1e-6)
    moved = naive_cosines(after, u) > naive_cosines(before, u)
    np.testing.assert_allclose(found["moved"], moved.mean(1), atol=1e-9)
    rest = [x - np.outer(x @ u, u) for x in (before.reshape(-1, 32), after.reshape(-1, 32))]
    kept = (
        np.sum(rest[0] * rest[1], 1)
        / np.linalg.norm(rest[0], axis=1)
        / np.linalg.norm(rest[1], axis=1)
    )
    np.testing.assert_allclose(found["keep"], kept.reshape(10, 12).mean(1), atol=1e-6)
    p, q = (run.logits[:, words].double().softmax(-1).numpy() for run in (old, new))
    np.testing.assert_allclose(found["kl"], (p * np.log(p / q)).sum(-1).mean(1), atol=1e-5)
    answers = prompts.ids[:, 2:13]
    own = np.take_along_axis(np.log(q[:, :-1]), answers[..., None], -1)[..., 0]
    np.testing.assert_allclose(found["nll"], -own.mean(1), atol=1e-4)
    np.testing.assert_allclose(found["probability"], q[..., token].mean(1), atol=1e-6)
    ranks = (q > q[..., [token]]).sum(-1) + 1
    lower = np.sort(ranks, axis=1)[:, 5]  # torch's median of twelve is the sixth
    np.testing.assert_array_equal(found["rank"], lower)


def test_a_masked_model_is_asked_at_hidden_positions():
    model, _, prompts = ready("bert")
    assert vocabulary(model) == "masked"
    bench = Bench.of(model, prompts, unit(32), token=40, seed=3)
    hidden, places = bench._hidden()
    assert len(hidden) == HIDDEN * len(prompts)
    assert np.all(hidden.ids[np.arange(len(hidden)), places] == model.tokenizer.mask_token_id)
    assert np.sum(hidden.ids != np.repeat(prompts.ids, HIDDEN, axis=0)) == len(hidden)
    found = bench.measure()
    with torch.no_grad():
        logits = model.module(torch.as_tensor(hidden.ids)).logits.double().log_softmax(-1).numpy()
    at = logits[np.arange(len(hidden)), places].reshape(10, HIDDEN, -1)
    answers = np.take_along_axis(prompts.ids, places.reshape(10, HIDDEN), 1)
    np.testing.assert_allclose(
        found["nll"], -np.take_along_axis(at, answers[..., None], 2)[..., 0].mean(1), atol=1e-4
    )
    np.testing.assert_allclose(found["kl"], 0.0, atol=1e-6)
    np.testing.assert_allclose(found["keep"], 1.0, atol=1e-12)


def test_a_trunk_has_no_vocabulary():
    module = AutoModel.from_config(speaking("bert").config, attn_implementation="eager")
    model = load(module, tokenizer=tokenizer())
    assert vocabulary(model) is None
    prompts = cut(model.tokenizer, shipped()[1], count=4, length=12)
    assert set(Bench.of(model, prompts, unit(32)).measure()) == {"cosine", "moved", "keep"}


@pytest.mark.parametrize("model_type", ["gpt2", "bert", "albert"])
def test_a_signed_edit_moves_every_token_and_activation_addition_can_equal_it(model_type):
    model, calibration, prompts = ready(model_type)
    session = Session.of(model, unit(32), calibration, method="signed", layers="late")
    bench = Bench.of(model, prompts, session.direction)
    before = Point(0.0, bench.measure())
    with applied(model, session.edits(0.2)):
        after = Point(0.2, bench.measure())
    assert after.values["moved"].min() == 1.0
    equal = equal_effect(session, bench, before, after)
    assert equal is not None
    effect = np.mean(after.values["cosine"] - before.values["cosine"])
    assert np.mean(equal.values["cosine"] - before.values["cosine"]) == pytest.approx(
        effect, rel=0.02
    )


def test_tuning_keeps_the_effect_and_lowers_the_damage_on_other_text():
    model, calibration, prompts = ready("gpt2")
    session = Session.of(model, unit(32), calibration, method="signed", layers="1-2")
    bench = Bench.of(model, prompts, session.direction)
    found = {}
    for name, steered in (("signed", session), ("tuned", session.tuned(0.1))):
        with applied(model, steered.edits(0.1)):
            found[name] = {kind: values.mean() for kind, values in bench.measure().items()}
    start = bench.measure()["cosine"].mean()
    assert found["tuned"]["cosine"] - start == pytest.approx(
        found["signed"]["cosine"] - start, rel=0.1
    )
    assert 1 - found["tuned"]["keep"] < 0.7 * (1 - found["signed"]["keep"])
    plain = tune(model, session.sites, session.direction, calibration, strength=0.1, rounds=0)
    for vector in plain.values():
        np.testing.assert_allclose(vector, session.direction, atol=1e-7)


def test_the_evidence_has_every_curve(monkeypatch):
    model, calibration, prompts = ready("gpt2")
    session = Session.of(model, unit(32), calibration, method="signed", layers="late")
    found = gather(session, Bench.of(model, prompts, session.direction, token=40), strength=0.2)
    assert [point.strength for point in found.edit] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert found.after.strength == 0.2
    cosines = [float(point.values["cosine"].mean()) for point in (found.before, *found.edit)]
    assert cosines == sorted(cosines)
    assert found.equal in found.addition
    assert len(found.texts) == 2
    assert abs(found.null.values["cosine"].mean() - cosines[0]) < 0.5 * (cosines[2] - cosines[0])
    difference = found.damage_difference()
    assert difference is not None
    assert difference[1] <= difference[0] <= difference[2]
    interval, keep = found.after.interval("keep"), found.after.mean("keep")
    assert interval is not None
    assert keep is not None
    assert interval[0] <= keep <= interval[1]


def test_a_session_leaves_out_what_cannot_be_edited_and_says_so():
    model, calibration, _ = ready("llama")
    with pytest.raises(InputError, match="no output bias to write to"):
        Session.of(model, unit(32), calibration, method="bias")
    with pytest.raises(InputError, match="method 'hope' does not exist"):
        Session.of(model, unit(32), calibration, method="hope")
    left = 0
    for seed in range(6):
        gpt2, calibration, _ = ready("gpt2", seed=seed)
        with suppress(InputError):  # where every layer is led by a complex pair
            session = Session.of(gpt2, unit(32), calibration, method="swap", layers="all")
            assert len(session.sites) + len(session.left) == 3
            assert all("complex" in why for why in session.left.values())
            left += len(session.left)
    assert left > 0


def test_running_leaves_gradients_on_and_no_hook():
    model, _, prompts = ready("bert")
    runs = [forward(model, prompts), forward(model, prompts)]
    for each in runs:
        next(each)
    assert torch.is_grad_enabled()
    assert all(not module._forward_hooks for module in model.module.modules())
    next(runs[0])
    del runs
    assert torch.is_grad_enabled()


def test_directions_of_tokens():
    model, _, _ = ready("gpt2")
    assert len(model.tokenizer(" the", add_special_tokens=False)["input_ids"]) == 1
    found = toward_token(model, " the")
    token = single_token(model, " the")
    assert found.token == token
    assert "output embedding" in found.source
    # adding it to a final state raises the token's score against the mean score
    (state,) = torch.randn(
        1, 1, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    double = model.module.double()

    def score(x):
        logits = double.lm_head(double.transformer.ln_f(x))
        return logits[..., token] - logits.mean(-1)

    x = state.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(x).sum(), x)
    rest = gradient[0].numpy()
    # the derivative of x/sigma along itself is all that the two differ by
    centred = (state[0] - state[0].mean()).numpy()
    rest = rest - (rest @ centred) * centred / (centred @ centred)
    mine = found.vector - (found.vector @ centred) * centred / (centred @ centred)
    assert mine @ rest / np.linalg.norm(mine) / np.linalg.norm(rest) > 0.999
    albert, _, _ = ready("albert")
    projected = toward_token(albert, " the")
    assert projected.vector.shape == (32,)
    assert "projected" in projected.source
    with pytest.raises(InputError, match=r"is \d+ tokens \('"):
        toward_token(model, " unquestionably")
    with pytest.raises(InputError, match="has no tokenizer, which --toward needs"):
        toward_token(load(speaking("gpt2")), " the")


def test_a_contrast_points_from_one_prompt_to_the_other():
    model, _, _ = ready("gpt2")
    one, other = (
        contrast(model, "the king", "the queen sat"),
        contrast(model, "the queen sat", "the king"),
    )
    np.testing.assert_allclose(one.vector, -other.vector, atol=1e-9)
    assert np.linalg.norm(one.vector) == pytest.approx(1.0)
    with pytest.raises(InputError, match="both end in the same states"):
        contrast(model, "the king", "the king")
    with pytest.raises(InputError, match="the model reads 32 at most"):
        contrast(model, "the king " * 40, "the queen")


def test_vectors_from_files(tmp_path):
    model, _, _ = ready("gpt2")
    np.save(tmp_path / "good.npy", 3 * unit(32)[None])
    np.testing.assert_allclose(from_file(model, tmp_path / "good.npy").vector, unit(32))
    bad = {
        "short": np.ones(31),
        "zero": np.zeros(32),
        "nan": np.full(32, np.nan),
        "words": np.array(["a"] * 32),
    }
    says = {
        "short": r"has shape \(31,\); the stream of GPT2LMHeadModel has 32 entries",
        "zero": "is zero",
        "nan": "holds 32 number",
        "words": "holds no real numbers",
    }
    for name, values in bad.items():
        np.save(tmp_path / f"{name}.npy", values)
        with pytest.raises(InputError, match=says[name]):
            from_file(model, tmp_path / f"{name}.npy")
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "archive.npy", a=np.ones(32))
    (tmp_path / "archive.npy.npz").rename(tmp_path / "archive.npy")
    with pytest.raises(InputError, match="holds no real numbers"):
        from_file(model, tmp_path / "archive.npy")
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }\n"
    (tmp_path / "vast.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head
    )
    with pytest.raises(InputError, match=r"no \.npy file"):
        from_file(model, tmp_path / "vast.npy")
    archive = bytearray((tmp_path / "archive.npy").read_bytes())
    central = archive.rindex(b"PK\x01\x02")
    archive[central + 6] = 173  # the version that unpacks it, 17.3
    (tmp_path / "newer.npy").write_bytes(archive)
    with pytest.raises(InputError, match=r"no \.npy file"):
        from_file(model, tmp_path / "newer.npy")
    half = (tmp_path / "archive.npy").read_bytes()
    for name, content in {
        "half of an archive": half[:60],
        "nothing": b"",
        "text": b"1\n2\n",
        "no mark": b"\x93NUMPX\x01\x00",
        "open bracket": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (32,"),
        "zero byte": npy("{'descr': '<f8', '\0': False, 'shape': (32,)}"),
        "indented": npy("\n  {\n    'descr'\n  }"),
        "no shape": npy("{'descr': '<f8', 'fortran_order': False}"),
        "no kind": npy("{'descr': 'x', 'fortran_order': False, 'shape': (32,)}"),
        "shape of words": npy("{'descr': '<f8', 'fortran_order': False, 'shape': ('a',)}"),
        "cut": (tmp_path / "good.npy").read_bytes()[:-1],
    }.items():
        (tmp_path / name).write_bytes(content)
    for name in (
        "pickle.npy",
        "missing.npy",
        "half of an archive",
        "nothing",
        "text",
        "no mark",
        "open bracket",
        "zero byte",
        "indented",
        "no shape",
        "no kind",
        "shape of words",
        "cut",
    ):
        with pytest.raises(InputError, match="cannot read"):
            from_file(model, tmp_path / name)
    huge = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1125899906842624,), }")
    (tmp_path / "huge.npy").write_bytes(huge)
    with pytest.raises(
        InputError, match="more numbers than memory does; the stream of GPT2LMHeadModel has 32"
    ):
        from_file(model, tmp_path / "huge.npy")
    np.save(tmp_path / "long.npy", np.full(32, np.longdouble("1e400")))
    with pytest.raises(InputError, match="holds 32 number"):
        from_file(model, tmp_path / "long.npy")
    two = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (32L,)}")  # as Python 2 wrote it
    (tmp_path / "two.npy").write_bytes(two + np.ones(32).tobytes())
    np.testing.assert_allclose(from_file(model, tmp_path / "two.npy").vector, np.full(32, 32**-0.5))


def npy(header: str) -> bytes:
    """An .npy file of no numbers."""
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize("effects", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_intervals_of_the_median_cover_it_when_directions_or_prompts_differ(effects):
    """Nominal 95 %, conservative by construction; of 100 tables at least 95 % - 4 sigmas of a
    binomial.
    """
    rng, covered, shape = np.random.default_rng(0), 0, (12, 24)
    for trial in range(100):
        sides = effects[0] * rng.standard_normal((shape[0], 1)) + effects[1] * rng.standard_normal(
            (1, shape[1])
        )
        low, high = median_interval(sides + rng.standard_normal(shape), seed=trial)
        covered += low < 0 < high
    assert covered >= 100 * (0.95 - 4 * np.sqrt(0.95 * 0.05 / 100))


def test_the_effect_of_the_direction_leaves_out_what_both_signs_take_away():
    def point(strength: float, cosine: float) -> Point:
        return Point(strength, {"cosine": np.array([cosine, cosine + 0.1])})

    before, after, mirror = point(0.0, 0.1), point(0.2, 0.45), point(-0.2, 0.25)
    signed = Evidence(before, (after,), 0, (), None, before, mirror)
    np.testing.assert_allclose(signed.effect(), 0.1, rtol=1e-12)
    np.testing.assert_allclose(replace(signed, mirror=None).effect(), 0.35, rtol=1e-12)
