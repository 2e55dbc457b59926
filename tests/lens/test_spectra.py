"""The rules, the table and the choice of layers, on planted circuits and small models."""

import numpy as np
import pytest
from small_models import CONFIGS, build

from eigenloop import lens
from eigenloop.lens.weights.spectra import Spectra, chosen_layers
from eigenloop.system.errors import InputError


def leader(values: np.ndarray) -> complex:
    """The one of largest modulus, Im >= 0."""
    return max((v for v in values if v.imag >= -1e-12), key=abs)


def naive_layernorm(circuit, sigma: float, head: int | None = None) -> complex:
    """The growth factor by the formulas, written out with matrices; a head of a post-LN layer on
    its own.
    """
    d = circuit.width
    centring = np.eye(d) - np.ones((d, d)) / d if circuit.norm.kind == "layer" else np.eye(d)
    matrix = circuit.matrix() if head is None else circuit.head(head)
    gain = np.diag(circuit.norm.gain)
    if circuit.norm.placement == "pre":
        return leader(1 + np.linalg.eigvals(matrix @ gain @ centring) / sigma)
    return leader(
        np.linalg.eigvals(gain @ centring @ (matrix + (np.eye(d) if head is None else 0)))
    )


@pytest.mark.parametrize("model_type", CONFIGS)
def test_growth_factors_of_layers_and_heads_are_those_of_dense_matrices(model_type):
    stack = lens.locate(build(model_type).double())
    circuit = lens.circuits(stack, 1)
    found = lens.layer_spectra(circuit, sigma=2.5)
    for head in (None, 0, circuit.heads - 1):
        matrix = circuit.matrix() if head is None else circuit.head(head)
        modes = {
            rule: found.modes[rule] if head is None else found.heads[rule][head]
            for rule in lens.RULES
        }
        values = np.linalg.eigvals(matrix)
        assert modes["modulus"].growth == pytest.approx(abs(leader(values)), rel=1e-8)
        assert modes["consensus"].growth == pytest.approx(abs(leader(1 + values)), rel=1e-8)
        assert modes["layernorm"].growth == pytest.approx(
            abs(naive_layernorm(circuit, 2.5, head)), rel=1e-8
        )
        for rule in ("modulus", "consensus"):
            mode = modes[rule]
            assert np.linalg.norm(
                matrix @ mode.right - mode.eigenvalue * mode.right
            ) < 1e-11 * np.linalg.norm(matrix)
        assert all(mode.converged for mode in modes.values())
    placement = circuit.norm.placement
    folded = {"pre": ("F diag(gain) P", "F diag(gain)"), "post": ("diag(gain) P (I + F)",)}[
        placement
    ]
    assert found.modes["layernorm"].operator in folded
    assert found.heads["modulus"][2].operator == "F_2"


def test_the_residual_connection_changes_which_mode_leads():
    modes = lens.layer_spectra(lens.planted(np.diag([0.5, -1.2, 0.1]))).modes
    assert modes["modulus"].eigenvalue == pytest.approx(-1.2)
    assert modes["consensus"].eigenvalue == pytest.approx(0.5)
    np.testing.assert_allclose(modes["consensus"].right, [1, 0, 0], atol=1e-12)


def test_sigma_decides_between_modes_before_the_attention():
    """|1 + lambda / sigma|: lambda = -3 leads for tokens of scale 1, lambda = 0.5 for large
    ones.
    """
    circuit = lens.planted(np.diag([0.5, -3.0]))
    for sigma, leading in ((1.0, -3.0), (4.5, 0.5)):
        mode = lens.layer_spectra(circuit, rules=["layernorm"], sigma=sigma).modes["layernorm"]
        assert mode.eigenvalue == pytest.approx(leading)
        assert mode.growth == pytest.approx(abs(1 + leading / sigma))


def test_shared_weights_are_read_once_and_said():
    found = lens.spectra(build("albert"))
    assert [layer.layer for layer in found.layers] == list(range(6))
    assert found.schedule == (0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5)
    assert "weights are shared: 6 blocks, applied 12 times in all" in found.notes()
    assert found.placement == "post"


def test_a_loaded_model_in_bfloat16_is_converted_and_says_so():
    torch = pytest.importorskip("torch")

    model = build("llama").to(torch.bfloat16)
    found = lens.spectra(model, layers="late")
    assert found.stored == ("bfloat16",)
    assert found.notes()[0] == "weights are stored as bfloat16 and were converted to float32 once"
    exact = lens.spectra(model.float(), layers="late")
    assert exact.notes()[0].startswith("the rule layernorm takes 1 for the tokens' scale")
    for rule in lens.RULES:
        assert found.layers[0].modes[rule].eigenvalue == exact.layers[0].modes[rule].eigenvalue


def test_the_table_has_a_row_for_each_layer_head_and_rule():
    found = lens.spectra(build("gpt2"), rules=["consensus", "modulus"], layers=[0, 2])
    table = found.table()
    assert tuple(table.columns) == Spectra.COLUMNS
    assert len(table) == len(found.rows()) == 2 * 2 * (1 + 4)
    whole = table[table["head"].isna() & (table["rule"] == "consensus")]
    assert whole["layer"].tolist() == [0, 2]
    mode = found.layers[1].modes["consensus"]
    assert whole["eigenvalue_re"].iloc[1] + 1j * whole["eigenvalue_im"].iloc[1] == mode.eigenvalue
    assert whole["growth"].iloc[1] == abs(1 + mode.eigenvalue)


def test_flags_are_counted_by_rule():
    found = lens.spectra(build("gpt2"))
    for rule, counts in found.counts().items():
        assert sum(counts.values()) == 3
        for flag, count in counts.items():
            assert count == sum(layer.modes[rule].flag == flag for layer in found.layers)


def test_vectors_are_left_out_on_demand():
    full, bare = (
        lens.spectra(build("bert"), layers="0", vectors=v).layers[0].modes["modulus"]
        for v in (True, False)
    )
    assert full.right.shape == full.left.shape == (32,)
    assert bare.right.shape == bare.left.shape == (0,)
    assert bare.eigenvalue == full.eigenvalue


def test_the_same_model_gives_the_same_bits_twice():
    first, second = (lens.spectra(build("gpt_neox")) for _ in range(2))
    assert first.rows() == second.rows()
    for a, b in zip(first.layers, second.layers, strict=True):
        np.testing.assert_array_equal(a.modes["consensus"].right, b.modes["consensus"].right)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("0,12", r"--layers has 12; this model has the layers 0 to 11"),
        ("5-3", r"--layers has 5-3; this model"),
        ("", r"--layers has ''; give all, late, or numbers"),
        ("-1", r"--layers has '-1'; give all"),
        ("first", r"--layers has 'first'; give all"),
        ([], r"--layers names no layer"),
    ],
)
def test_a_choice_of_layers_that_cannot_be_read(layers, message):
    with pytest.raises(InputError, match=message):
        chosen_layers(layers, 12)


def test_choices_of_layers():
    assert chosen_layers("all", 3) == (0, 1, 2)
    assert chosen_layers("late", 4) == (2, 3)
    assert chosen_layers(" 3 - 5,0,4".replace(" ", ""), 6) == (0, 3, 4, 5)
    assert chosen_layers([2, 0], 3) == (0, 2)


def test_rules_and_scales_that_do_not_exist():
    circuit = lens.planted(np.eye(2))
    with pytest.raises(
        InputError, match="rule 'largest' does not exist; choose modulus, consensus, layernorm"
    ):
        lens.growth(circuit, "largest")
    with pytest.raises(
        InputError, match="sigma is 0; the scale of tokens is a finite number above 0"
    ):
        lens.growth(circuit, "layernorm", sigma=0.0)
    with pytest.raises(InputError, match="sigma is nan"):
        lens.growth(circuit, "layernorm", sigma=float("nan"))
    with pytest.raises(InputError, match="rule '' does not exist"):
        lens.spectra(build("gpt2"), rules=[])
