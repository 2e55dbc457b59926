"""What `eigenloop steer` says of an encoder's similarities and retrieval, from what it writes."""

import csv
import json

import numpy as np
import pytest
from steer_models import saved, speaking, tokenizer, unit

from eigenloop import cli
from eigenloop.lens.model.loaded import load
from eigenloop.steer import Bench, Session, activation_addition, cut, shipped
from eigenloop.steer.embedding import Pooling, Retrieval
from eigenloop.steer.evidence import Point, gather
from eigenloop.steer.retrieval import packaged, pseudo_values

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")
transformers = pytest.importorskip("transformers", reason="transformers is missing")

WORDS = ("--contrast", "the king", "the queen sat", "--method", "signed", "--layers", "all")


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """A BERT without a head that pools maxima, as sentence-transformers saves it."""
    folder = tmp_path_factory.mktemp("trunk") / "bert"
    speaking("bert", max_position_embeddings=96).bert.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    config = {"word_embedding_dimension": 32, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    return folder


def run(capsys, *words) -> dict:
    with pytest.raises(SystemExit) as stop:
        cli.main(["steer", *map(str, words), "--json"])
    captured = capsys.readouterr()
    assert not stop.value.code, captured.err
    return json.loads(captured.out)


def cosines_of(folder) -> np.ndarray:
    """Cosines of queries and sentences in a padded batch, by transformers alone."""
    module = transformers.AutoModel.from_pretrained(folder)
    spoken = transformers.AutoTokenizer.from_pretrained(folder)
    library = packaged()
    texts = [*library.queries, *library.sentences]
    batch = spoken(texts, padding=True, truncation=True, max_length=96, return_tensors="pt")
    with torch.no_grad():
        states = module(**batch).last_hidden_state.double()
    states = states.masked_fill(batch["attention_mask"][..., None] == 0, -torch.inf).amax(1).numpy()
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    return states[:24] @ states[24:].T


def test_an_encoder_is_searched_before_and_after(trunk, tmp_path, capsys):
    out = tmp_path / "out"
    found = run(capsys, trunk, *WORDS, "--budget", "0.0001", "--out", out)
    by_strength = dict(map(tuple, found["search"]))
    assert 0.9e-4 < by_strength[found["strength"]] <= 1e-4
    assert found["kl"] is None
    assert found["similarity"] == pytest.approx(1e-4, rel=0.5)  # on other text
    about, right = found["retrieval"], np.array(packaged().right)
    assert about["pooling"].startswith("max over tokens (1_Pooling/config.json")
    before, after = cosines_of(trunk), cosines_of(out)
    for name, cosines in (("before", before), ("edit", after)):
        hits = sum(cosines[q].argmax() == right[q] for q in range(24))
        assert about[name]["hits"] == hits
        assert about[name]["change"] == pytest.approx(np.abs(cosines - before).mean(), abs=1e-6)
        assert about[name]["shift"] == pytest.approx((cosines - before).mean(), abs=1e-6)
        nearest = [packaged().sentences[index] for index in cosines.argmax(1)]
        assert [each[name] for each in about["nearest"]] == nearest
    assert about["activation_addition"]["change"] > 0
    difference = about["change_difference"]
    apart = about["edit"]["change"] - about["activation_addition"]["change"]
    assert difference["mean"] == pytest.approx(apart, abs=1e-12)
    assert difference["low"] <= difference["mean"] <= difference["high"]
    points = {(row["curve"], row["strength"]) for row in table(out / "curves.csv")}
    rows = table(out / "retrieval.csv")
    assert {(row["curve"], row["strength"]) for row in rows} == points
    assert len(rows) == 24 * len(points)
    mine = [
        row for row in rows if float(row["strength"]) == found["strength"] if row["curve"] == "edit"
    ]
    change = [float(row["change"]) for row in mine]
    np.testing.assert_allclose(change, np.abs(after - before).mean(1), atol=1e-6)
    page = (out / "report.html").read_text()
    assert "Similarity and retrieval" in page
    assert "no more than chance" in page  # random weights find nothing


def table(path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_masked_model_is_searched_by_its_mean(tmp_path, capsys):
    saved(tmp_path / "bert", "bert")
    found = run(capsys, tmp_path / "bert", *WORDS, "--out", tmp_path / "out")
    assert found["kl"] is not None
    assert found["similarity"] > 0
    assert (
        found["retrieval"]["pooling"] == "mean over tokens (nothing says how, so the mean is taken)"
    )
    assert found["retrieval"]["cut"] > 0  # it reads 32 tokens


def test_change_of_similarity_is_that_of_all_pairs_of_prompts(trunk):
    model = load(trunk)
    prompts = cut(model.tokenizer, shipped()[1], count=10, length=12)
    bench = Bench.of(model, prompts, unit(32), pooling=Pooling())
    shift = {2: 0.4 * unit(32, seed=8)}

    def similar() -> np.ndarray:
        with torch.no_grad():
            states = model.trunk(torch.as_tensor(prompts.ids)).last_hidden_state.double().mean(1)
        unit_vectors = torch.nn.functional.normalize(states, dim=-1).numpy()
        return unit_vectors @ unit_vectors.T

    before = similar()
    with activation_addition(model, shift):
        found, after = bench.measure()["similarity"], similar()
    change = np.abs(after - before)
    expected = [np.mean([change[i, j] for j in range(10) if j != i]) for i in range(10)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(bench.measure()["similarity"], 0.0, atol=1e-6)
    point = Point(0.1, {"similarity": found})
    low, high = point.interval("similarity") or (0.0, 0.0)
    spread = np.std(pseudo_values(found), ddof=1) / 10**0.5
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.25)


def test_every_point_is_searched_and_where_nothing_has_equal_effect_nothing_is_compared(trunk):
    model = load(trunk)
    first, second = (cut(model.tokenizer, text, count=24, length=12) for text in shipped())
    session = Session.of(model, unit(32), first, method="signed", layers="all")
    retrieval = Retrieval.of(model, Pooling())
    bench = Bench.of(model, second, session.direction, pooling=Pooling())
    found = gather(session, bench, strength=0.1, multiples=(1.0, 2.0), retrieval=retrieval)
    points = [found.before, *found.edit, *found.addition, found.null]
    assert all(point.retrieval is not None for point in points)
    assert found.before.retrieval is not None
    assert found.before.retrieval.mean("change") == pytest.approx(0.0, abs=1e-7)
    changes = [point.retrieval.mean("change") for point in found.edit if point.retrieval]
    assert 0 < changes[0] < changes[1]
    assert gather(session, bench, strength=0.1, multiples=(1.0,)).after.retrieval is None
