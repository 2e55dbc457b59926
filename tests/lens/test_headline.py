"""The rule of the headline: what must be a yes, what must be a no, and which condition says so."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import build
from words import sentences, tokenizer

from eigenloop.lens import Alignment, Estimate, Headline, LayerAlignment, Null, alignment
from eigenloop.lens.cases.generators import growth_spectrum, with_spectrum
from eigenloop.lens.page.headline import headline_sentence
from eigenloop.lens.page.spectra import sentences as spectra_sentences
from eigenloop.lens.page.text import alignment_section, alignment_sentences
from eigenloop.lens.survey import survey
from eigenloop.lens.text.estimates import ALIKE, STATISTICS
from eigenloop.lens.text.headline import CONDITIONS, judged

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")

DIM, LOOPS = 64, 6
QUICK: dict[str, Any] = {"resamples": 199, "draws": 199}


def centred_matrix(seed: int, **options: Any) -> np.ndarray:
    """F with planted growth factors that maps vectors of mean 0 to such vectors, so that LN's
    centring is no matter.
    """
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(np.column_stack([np.ones(DIM), rng.standard_normal((DIM, DIM - 1))]))[0][
        :, 1:
    ]
    return basis @ with_spectrum(rng, growth_spectrum(DIM - 1, **options), condition=3.0) @ basis.T


def shared(matrix: np.ndarray | None, *, bias: np.ndarray | None = None, seed: int = 0):
    """An ALBERT whose one block is looped: uniform attention with F, gain 1, and of the
    feed-forward only its bias.

    Without a matrix, all weights are as they are drawn for training from scratch.
    """
    options = {
        "hidden_size": DIM,
        "num_hidden_layers": LOOPS,
        "num_hidden_groups": 1,
        "inner_group_num": 1,
    }
    model = build("albert", seed=seed, **options)
    if matrix is None:
        torch.manual_seed(seed)
        return type(model)(model.config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or any(
                part in name for part in ("albert_layer_groups", "position", "token_type")
            ):
                parameter.fill_(float(name.endswith(("LayerNorm.weight", "layer_norm.weight"))))
        block = model.encoder.albert_layer_groups[0].albert_layers[0]
        block.attention.value.weight.copy_(torch.eye(DIM))
        block.attention.dense.weight.copy_(torch.tensor(matrix))
        if bias is not None:
            block.ffn_output.bias.copy_(torch.tensor(bias))
    return model


def saved(model, directory: Path) -> Path:
    model.save_pretrained(directory)
    tokenizer(ends=False).save_pretrained(directory)
    return directory


def value(layer: LayerAlignment, name: str) -> float:
    number = layer[name].value
    assert number is not None
    return number


def told(model, directory: Path) -> Alignment:
    return alignment(saved(model, directory), sentences(150, longest=9), **QUICK)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_power_method_is_a_yes_in_every_layer(tmp_path, seed):
    """Growth 5 and gap 0.3, read from the checkpoint: passages go to either side, so there is no
    mean direction.
    """
    found = told(shared(centred_matrix(seed, gap=0.3, leader=5.0)), tmp_path)
    assert found.headline.says == "yes", found.headline.as_dict()
    assert found.headline.saying("yes") == tuple(range(LOOPS))
    shares = [value(layer, "enrichment_after") for layer in found.layers]
    assert np.all(np.diff(shares) > 0)
    assert shares[-1] > 0.9 * DIM  # all of the token: d is the most there is
    assert value(found.layers[-1], "centred_after") > 0.9 * DIM
    assert value(found.layers[-1], "no_feed_forward_after") == pytest.approx(shares[-1], rel=1e-4)
    assert value(found.layers[-1], "no_values_after") < 2


def test_tokens_that_all_end_at_one_point_are_a_no(tmp_path):
    """The same with a bias along the leader in the feed-forward: one point for all, which a bias
    alone could be.
    """
    matrix = centred_matrix(0, gap=0.3, leader=5.0)
    values, vectors = np.linalg.eig(matrix)
    leader = np.real(vectors[:, np.argmax(np.abs(1 + values))])
    found = told(shared(matrix, bias=8 * leader), tmp_path)
    # the first attention is before any bias
    assert found.headline.saying("no") == tuple(range(1, LOOPS))
    assert all(each.failed == ("centred",) for each in found.headline.layers[1:])
    assert value(found.layers[-1], "enrichment_after") > 0.9 * DIM


def test_a_copy_with_random_weights_is_a_no(tmp_path):
    for seed in range(3):
        found = told(shared(None, seed=seed), tmp_path / str(seed))
        assert found.headline.says == "no", found.headline.as_dict()


def test_an_outlier_coordinate_that_the_feed_forward_makes_is_a_no(tmp_path):
    """Tokens crowd on a coordinate that F amplifies a little: p and the percentile of its own
    directions are taken in.

    The share stays without attention's values, goes without the feed-forward, and is the mean
    direction alone.
    """
    rest = np.zeros(DIM)
    rest[7] = 6.0
    matrix = centred_matrix(1, gap=0.9, leader=1.05)
    axis = np.eye(DIM)[7] - 1 / DIM
    axis /= np.linalg.norm(axis)
    apart = np.eye(DIM) - np.outer(axis, axis)
    matrix = 0.5 * apart @ matrix @ apart + 0.3 * np.outer(axis, axis)
    found = told(shared(matrix, bias=rest), tmp_path)
    assert found.headline.says == "no"
    last = found.layers[-1]
    verdict = judged(last)
    assert (verdict.conditions["random"], verdict.conditions["own"]) == (True, True)
    assert {"coordinate", "centred"} <= set(verdict.failed)
    assert last.coordinate == 7
    assert value(last, "participation") == pytest.approx(
        1 / ((1 - 1 / DIM) ** 2 + 1 / DIM**2 / (DIM - 1)), rel=1e-3
    )
    assert value(last, "no_values_after") > 0.5 * value(last, "enrichment_after") > 8
    assert value(last, "no_feed_forward_after") < 0.25 * value(last, "enrichment_after")


# --- the rule itself, on numbers


def estimate(
    value: float | None, *, p: float | None = None, width: float = 0.1, reason: str | None = None
) -> Estimate:
    nulls = {} if p is None else {"random": Null("random", 1.0, 0.8, 1.2, 499, 2.0, p, p)}
    ends = {} if value is None else {"low": value - width, "high": value + width}
    return Estimate(value=value, nulls=nulls, reason=reason, **ends)  # pyright: ignore[reportArgumentType]


def layer(number: int = 0, **changes: Estimate) -> LayerAlignment:
    """A layer in which all conditions hold, but for what is changed."""
    good = dict.fromkeys(STATISTICS, estimate(1.0)) | {
        "enrichment_after": estimate(5.0, p=0.002),
        "share_percentile_after": estimate(99.0),
        "no_values_after": estimate(2.0),
        "participation": estimate(90.0),
        "centred_after": estimate(3.0, p=0.002),
        "centred_percentile": estimate(95.0),
        "no_values_centred": estimate(1.0),
    }
    return LayerAlignment(
        layer=number,
        block=number,
        eigenvalue=1 + 0j,
        flag="positive",
        sigma=1.0,
        coordinate=3,
        coordinate_share=0.1,
        statistics=good | changes,
        heads=(),
    )


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, ()),
        ({"enrichment_after": estimate(5.0, p=0.05)}, ("random",)),
        ({"share_percentile_after": estimate(94.9)}, ("own",)),
        ({"no_values_after": estimate(4.79)}, ()),  # 4.89 is below 4.90
        ({"no_values_after": estimate(4.81)}, ("values",)),
        ({"participation": estimate(1.99)}, ("coordinate",)),
        ({"participation": estimate(2.0)}, ()),
        ({"centred_after": estimate(3.0, p=0.06)}, ("centred",)),
        ({"centred_percentile": estimate(90.0)}, ("centred",)),
        ({"no_values_centred": estimate(2.9)}, ("centred",)),
        (
            {"enrichment_after": estimate(5.0, p=0.2), "participation": estimate(1.0)},
            ("random", "coordinate"),
        ),
    ],
)
def test_each_condition_is_read_from_its_numbers(changes, failed):
    verdict = judged(layer(**changes))
    assert verdict.failed == failed
    assert verdict.says == ("no" if failed else "yes")
    assert tuple(verdict.conditions) == CONDITIONS


def test_what_is_not_measured_is_not_decided_unless_something_fails():
    wide = estimate(None, reason="too wide")
    verdict = judged(layer(share_percentile_after=wide, centred_percentile=wide))
    assert (verdict.says, verdict.conditions["own"], verdict.conditions["centred"]) == (
        "undecided",
        None,
        None,
    )
    assert verdict.reasons == {"own": "too wide", "centred": "too wide"}
    assert judged(layer(share_percentile_after=wide, participation=estimate(1.0))).says == "no"
    assert judged(layer(centred_percentile=wide, centred_after=estimate(3.0, p=0.9))).failed == (
        "centred",
    )
    assert judged(layer(centred_after=estimate(None, reason=ALIKE))).failed == ("centred",)


def headline(*layers: LayerAlignment) -> Headline:
    return Headline(
        source="m",
        text="t",
        layers=tuple(judged(replace(each, layer=i)) for i, each in enumerate(layers)),
    )


def test_the_headline_counts_layers_and_names_what_failed():
    lone, crowd = (
        layer(centred_after=estimate(1.0, p=0.9)),
        layer(enrichment_after=estimate(5.0, p=0.9)),
    )
    wide = layer(share_percentile_after=estimate(None, reason="too wide"))
    for layers, says, words in (
        ((layer(), layer()), "yes", ("Yes, in all 2 layers",)),
        ((layer(),), "yes", ("Yes, in the one layer",)),
        (
            (layer(), lone, layer()),
            "some",
            ("In some layers, 2 of 3 (layers 0, 2).", "mean direction (in 1)"),
        ),
        (
            (lone, crowd, lone),
            "no",
            ("No, in none of 3", "direction (in 2) and is not clearly beyond"),
        ),
        ((lone,), "no", ("No: the tokens' share in it does not stand out",)),
        ((wide, wide), "undecided", ("Not decided in layers 0, 1: too wide.",)),
        ((wide, crowd), "no", ("No, in none of 2 layers.", "Not decided in layer 0: too wide.")),
        ((wide, layer()), "some", ("In some layers, 1 of 2 (layer 1). Not decided in layer 0",)),
    ):
        found = headline(*layers)
        assert found.says == says
        assert all(each in found.answer() for each in words), found.answer()
    plain = headline(layer(), lone, wide).as_dict()
    assert plain["layers"] == {"yes": [0], "no": [1], "undecided": [2]}
    assert plain["failed"] == {"centred": [1]}


def test_the_page_and_the_json_say_the_same_first(tmp_path, monkeypatch):
    """One answer: first on the page, in the summary, and in the JSON, with each layer's
    conditions.
    """
    import eigenloop.lens.survey as module

    monkeypatch.setattr(
        module, "alignment", lambda *a, **k: alignment(*a, **k, resamples=99, draws=99)
    )
    text = tmp_path / "text.txt"
    text.write_text("\n".join(sentences(60)))
    found = survey(str(saved(shared(None), tmp_path / "model")), text=text)
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    page = found.page(command="eigenloop lens ...")
    assert page.lead.replace("\N{NO-BREAK SPACE}", " ").endswith(plain["headline"]["answer"])
    assert page.lead.startswith("Do the tokens of ")
    assert page.lead in found.sentences()
    assert plain["headline"] == plain["alignment"]["headline"]
    for told in plain["layers"][0]["applications"]:
        assert told["verdict"] == "no"
        assert set(told["conditions"]) == set(CONDITIONS)
        assert told["participation"]["interval"] is None
        assert told["no_values_after"]["interval"][0] <= told["no_values_after"]["value"]


def test_one_block_applied_again_and_again_is_told_by_loops():
    """What is said of layers elsewhere is said of loops; several blocks, or one applied once,
    keep their layers.
    """
    about: dict[str, Any] = {
        "source": "m",
        "text": "t",
        "rule": "consensus",
        "seed": 0,
        "passages": 40,
        "tokens": 9,
        "resamples": 99,
        "draws": 99,
    }
    lone = layer(centred_after=estimate(1.0, p=0.9))

    def over(*blocks: int) -> Alignment:
        layers = tuple(
            replace(lone, layer=number, block=block) for number, block in enumerate(blocks)
        )
        return Alignment(**about, layers=layers)

    found = over(0, 0, 0)
    words = [
        headline_sentence(found),
        *alignment_sentences(found),
        *found.sentences(),
        *found.notes(),
    ]
    assert (found.unit, found.headline.unit) == ("loop", "loop")
    assert "the one block, applied 3 times, of m? No, in none of 3 loops." in words[0]
    assert not [each for each in words if "layers" in each or "Layer " in each or "of 1 " in each]
    assert alignment_section(found).title == "One block, 3 loops: do tokens follow?"
    for other in (over(0, 1, 0), over(0)):
        assert other.unit == "layer"
        assert alignment_section(other).title == "Do tokens follow?"


def test_no_page_of_shared_weights_counts_one_layer(tmp_path):
    found = survey(shared(centred_matrix(0, gap=0.3)), with_query_keys=False)
    page = " ".join(
        [
            found.page(command="eigenloop lens ...").lead,
            *found.notes(),
            *spectra_sentences(found.spectra),
        ]
    )
    assert f"one block, applied {LOOPS} times" in page
    assert not re.search(r"\b1 (blocks?|layers?)\b|of 1\b", page)
