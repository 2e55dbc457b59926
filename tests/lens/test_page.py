"""The lens's page: what is drawn, said and listed is what the spectra hold; plain enough for any
browser.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_models import CONFIGS, build

from eigenloop import lens, report
from eigenloop.lens.page import draw, panels
from eigenloop.lens.page import spectra as page
from eigenloop.lens.page.heads import layer_table
from eigenloop.lens.survey import output_directory, survey
from eigenloop.lens.weights.circuits import Norm
from eigenloop.system.directories import require_writable
from eigenloop.system.errors import InputError

rng = np.random.default_rng(0)
NUMBER = r"-?[\d.]+"


def spectra_of(
    *matrices: np.ndarray, rules=lens.RULES, norm: Norm | None = None, sigma: float = 1.0
) -> lens.Spectra:
    """Spectra of a model whose layers have these F."""
    circuits = [lens.planted(matrix, norm=norm) for matrix in matrices]
    layers = tuple(
        replace(found, layer=i)
        for i, found in enumerate(lens.layer_spectra(c, rules=rules, sigma=sigma) for c in circuits)
    )
    return lens.Spectra(
        source="a/planted",
        model_type="planted",
        stored=("float64",),
        schedule=tuple(range(len(layers))),
        heads=1,
        width=len(matrices[0]),
        placement=circuits[0].norm.placement,
        rules=tuple(rules),
        layers=layers,
    )


def dots(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(rf"M({NUMBER}) ({NUMBER})h0", svg)]


# --- drawings


def test_dots_are_at_the_eigenvalues_and_the_circle_is_where_nothing_grows():
    values = np.array([1.0 + 0j, -1.5, 0.25 + 0.5j, 0.25 - 0.5j, -0.5])
    shown = draw.window([values], -1.0, 1.0)
    svg = draw.plane(values, (1.0 + 0j,), shown, draw.LIGHT, centre=-1.0, radius=1.0)
    circle = re.search(rf'cx="({NUMBER})" cy="({NUMBER})" r="({NUMBER})"[^>]*dasharray', svg)
    assert circle is not None
    x, y, radius = map(float, circle.groups())
    back = sorted(((px - x) / radius - 1, (y - py) / radius) for px, py in dots(svg))
    exact = sorted((v.real, v.imag) for v in values)
    np.testing.assert_allclose(back, exact, atol=0.1 / radius)  # drawn to a tenth of a pixel
    grey, blue = (
        re.search(rf'd="([^"]*h0)"[^>]*stroke="{c}"', svg)
        for c in (draw.LIGHT.inside, draw.LIGHT.outside)
    )
    assert grey is not None
    assert blue is not None
    assert len(dots(grey[1])) == 2  # -1.5 and -0.5: |1 + lambda| < 1
    assert len(dots(blue[1])) == 3


def test_a_complex_leader_has_two_rings_and_the_second_leader_diamonds():
    values = np.array([1 + 1j, 1 - 1j, -3.0])
    shown = draw.window([values], -1.0, 1.0)
    svg = draw.plane(values, (1 + 1j, -3 + 0j), shown, draw.DARK, centre=-1.0, radius=1.0)
    assert svg.count('r="5"') == 2
    assert svg.count("l8.5 8.5") == 1


def test_everything_lies_within_the_window():
    values = [rng.standard_normal(20) * 3 + 1j * rng.standard_normal(20) for _ in range(3)]
    left, width, height = draw.window(values, -1.0, 1.0)
    points = np.concatenate([*values, [-2, 0, -1 + 1j]])
    assert np.all((points.real > left) & (points.real < left + width))
    assert np.all(np.abs(points.imag) < height / 2)


def test_the_map_has_a_sign_for_each_head_that_stands_out_from_its_shade():
    values = np.array([[0.0, 1.0, 2.0], [0.5, 1.5, 0.2]])
    flags = [["zero", "positive", "negative"], ["complex", "positive", "complex"]]
    for look in (draw.LIGHT, draw.DARK):
        svg = draw.heads_map(values, flags, [3, 5], look, label="|λ|")
        shades = re.findall(r'width="24" height="24" rx="3" fill="(#\w+)"', svg)
        assert [shades[0], shades[2]] == [look.shades[0], look.shades[-1]]
        signs = re.findall(r'font-size="14"[^>]*fill="(#\w+)"[^>]*>(.)<', svg)
        assert [sign for _, sign in signs] == ["0", "+", "\N{MINUS SIGN}", "↻", "+", "↻"]
        for shade, (ink, _) in zip(shades, signs, strict=True):
            light, dark = sorted((draw.luminance(shade), draw.luminance(ink)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5
        assert [draw.luminance(shade) for shade in look.shades] == sorted(
            (draw.luminance(shade) for shade in look.shades), reverse=look is draw.LIGHT
        )


# --- words


def test_the_summary_counts_what_the_layers_hold():
    rotation = np.array([[1.0, -2.0, 0], [2.0, 1.0, 0], [0, 0, 0.1]])
    found = spectra_of(np.diag([1.0, -2.5, 0.0]), np.diag([-4.0, 1.0, 0.5]), rotation)
    lead, step, other = page.sentences(found)
    assert (
        "of 3 layers: 1 led by a positive eigenvalue, 1 led by a negative one, 1 led by a complex"
        " pair" in lead
    )
    assert "by 2 (layer 0) to 3 (layer 1)" in step
    assert "0.389 (layer 2) to 0.75 (layer 0)" in step  # 1.1 / |2 + 2i|; 1.5 / 2
    assert other.endswith("in 1 of 3 layers (layer 0).")  # -2.5 by modulus, 1 by |1 + lambda|


def test_one_layer_is_told_in_the_singular():
    lead, step = page.sentences(spectra_of(np.diag([1.0, -0.5]), rules=("consensus",)))
    assert ": 1 layer, led by a positive eigenvalue." in lead
    assert (
        step == "Alone, a step multiplies the leading direction by 2 (layer 0). "
        "The next one grows 0.25 times as much (the gap)."
    )


def test_the_strip_has_a_panel_for_each_layer_with_all_of_its_eigenvalues():
    matrices = [rng.standard_normal((12, 12)) for _ in range(3)]
    strip = panels.strip(spectra_of(*matrices))
    assert [panel.title for panel in strip.panels] == ["Layer 0", "Layer 1", "Layer 2"]
    for panel, matrix in zip(strip.panels, matrices, strict=True):
        assert len(dots(panel.svg)) == len(dots(panel.svg_dark)) == 12
        grows = np.count_nonzero(np.abs(1 + np.linalg.eigvals(matrix)) > 1)
        assert f"{grows} of 12 eigenvalues grow" in panel.alt


def test_panels_share_axes_until_one_needs_much_more_room():
    small, large = np.diag([1.0, 0.5]), np.diag([90.0, 0.5])
    assert "All panels have the same axes" in panels.strip(spectra_of(small, 1.2 * small)).caption
    assert "the circle is the yardstick" in panels.strip(spectra_of(small, large)).caption


def test_the_circle_follows_the_rule():
    """Nothing grows on |1 + lambda/sigma| = 1 with the normalisation before, on |lambda| = 1
    without the residual.
    """
    norm = Norm(gain=np.ones(4), bias=np.zeros(4), eps=0.0, kind="layer", placement="pre")
    for rule, sigma, (centre, radius) in (
        ("modulus", 1.0, (0, 1)),
        ("consensus", 1.0, (-1, 1)),
        ("layernorm", 2.5, (-2.5, 2.5)),
    ):
        found = spectra_of(rng.standard_normal((4, 4)), rules=(rule,), norm=norm, sigma=sigma)
        growth = found.growth(found.layers[0])
        assert (-growth.shift * growth.scale, growth.scale) == (centre, radius)
        for angle in (0.3, 2.0):
            assert abs(growth(centre + radius * np.exp(1j * angle))) == pytest.approx(1, abs=1e-12)


def test_without_all_eigenvalues_the_page_says_so(monkeypatch):
    monkeypatch.setattr("eigenloop.lens.weights.modes.DENSE_LIMIT", 10)
    found = spectra_of(rng.standard_normal((60, 60)), rules=("consensus",))
    assert not len(found.layers[0].eigenvalues["consensus"])
    strip = panels.strip(found)
    assert dots(strip.panels[0].svg) == []
    assert "Only the leading one is known" in strip.panels[0].alt
    assert "too large to compute all" in strip.caption


def test_the_table_opens_to_every_rule_and_head():
    found = spectra_of(np.diag([1.0, -2.5, 0.0]), np.diag([-4.0, 1.0, 0.5]))
    table = layer_table(found)
    assert [row.cells[:3] for row in table.body] == [
        (0, "+ positive", "1"),
        (1, "− negative", "−4"),
    ]
    rules, heads = (item for item in table.body[0].details if isinstance(item, report.Table))
    assert [row.cells[0] for row in rules.body] == ["modulus", "consensus", "layernorm"]
    assert len(heads.body) == 1


def test_the_whole_page_renders_with_its_command_and_files():
    html = report.render(
        page.spectra_page(
            spectra_of(np.diag([1.0, -2.5, 0.0])), command="eigenloop lens x", seconds=1
        )
    )
    assert "<title>The lens: a/planted</title>" in html
    for name in ("spectra.csv", "eigenvalues.csv"):
        assert f'<a href="{name}">{name}</a>' in html
    for words in (
        "<span>eigenloop</span>",
        'aria-label="Layer 0: the leading eigenvalue is 1, positive, growth 2',
    ):
        assert words in html


# --- on disk


def test_a_page_of_another_kind_is_not_replaced(tmp_path):
    report.write(report.Page("Something else"), tmp_path / "report.html")
    with pytest.raises(InputError, match=r"report.html was not written by the lens"):
        output_directory(tmp_path).check()


def test_a_directory_with_a_model_or_a_table_of_another_kind_is_refused(tmp_path):
    for name, message in (
        ("config.json", "holds a model"),
        ("spectra.csv", "spectra.csv was not written by the lens"),
    ):
        directory = tmp_path / name.replace(".", "-")
        directory.mkdir()
        (directory / name).write_text("precious")
        with pytest.raises(InputError, match=message):
            output_directory(directory).check()
        assert (directory / name).read_text() == "precious"


def test_tables_of_an_earlier_survey_do_not_stay(tmp_path):
    from checkpoints import write

    model, out = write(tmp_path / "model"), tmp_path / "out"
    survey(model, compare_with=model).save(out, command="first")
    (out / "mine.csv").write_text("precious")
    assert (out / "comparison.csv").exists()
    files = survey(model).save(out, command="second")
    assert {path.name for path in out.iterdir()} == {
        *(Path(path).name for path in files.values()),
        "mine.csv",
        ".lock",
    }
    assert not (out / "comparison.csv").exists()


def test_a_directory_that_cannot_be_made_is_told_and_none_is_made(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match=r"file is a file; choose another"):
        require_writable(file / "below")
    require_writable(tmp_path / "new" / "deep")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(InputError, match="cannot write to"):
        require_writable(tmp_path / "new" / "deep")


def test_eigenvalues_csv_has_each_matrix_once(tmp_path):
    matrix = rng.standard_normal((5, 5))
    rows = spectra_of(matrix).save_eigenvalues(tmp_path).read_text().splitlines()
    assert rows[0] == "layer,operator,eigenvalue_re,eigenvalue_im"
    table = [row.split(",") for row in rows[1:]]
    assert {row[1] for row in table} == {"F", "F diag(gain)"}
    values = np.array([complex(float(re), float(im)) for _, name, re, im in table if name == "F"])
    np.testing.assert_allclose(
        np.sort_complex(values), np.sort_complex(np.linalg.eigvals(matrix)), rtol=1e-12
    )


def test_a_survey_of_the_weights_holds_what_spectra_finds(tmp_path):
    from checkpoints import write

    model, told = write(tmp_path / "model"), []
    found = survey(model, progress=lambda *arguments: told.append(arguments))
    assert found.spectra.rows() == lens.spectra(model).rows()
    assert told[0] == ("layers", 0, 2)
    files = found.save(tmp_path / "out", command="eigenloop lens model")
    assert sorted(files) == ["eigenvalues", "report", "spectra"]
    assert all(Path(file).exists() for file in files.values())


@pytest.mark.parametrize("model_type", CONFIGS)
@pytest.mark.parametrize("rule", lens.RULES)
def test_every_architecture_has_a_page_by_every_rule(model_type, rule, tmp_path):
    model = build(model_type)
    model.save_pretrained(tmp_path / "model")
    found = survey(tmp_path / "model", rules=(rule,))
    files = found.save(tmp_path / "out", command="eigenloop lens model")
    assert ("reading" in files) == (model_type != "vit")
    assert ("no input embedding" in " ".join(found.notes())) == (model_type == "vit")
    html = Path(files["report"]).read_text()
    assert html.count('class="panel"') == len(found.spectra.layers)
    assert "nan" not in re.sub(r'd="[^"]*"', "", html).lower().split()
