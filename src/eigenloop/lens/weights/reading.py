"""The tokens that a layer's principal mode writes and reads, through the model's own embeddings
(NumPy).

The layer writes its right vector v, and reads the stream by its left vector l. Tokens are ranked by
the cosine of their rows with these (the rows of the output embedding with v, those of the input
embedding with l; eigenloop.lens.model.embeddings), beside what a random direction reaches
(eigenloop.lens.weights.nearest). Worked out here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from eigenloop.lens.model.embeddings import Embedding, Side, input_embedding, output_embedding
from eigenloop.lens.model.layouts import Layout
from eigenloop.lens.model.results import TabularResult, called
from eigenloop.lens.model.vocabulary import Vocabulary, vocabulary
from eigenloop.lens.weights.modes import Flag, Mode
from eigenloop.lens.weights.nearest import LEVEL, Neighbours, chance_cosine, nearest, p_largest
from eigenloop.lens.weights.rules import RULES
from eigenloop.lens.weights.spectra import chosen_layers
from eigenloop.lens.weights.subject import Subject
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent


@dataclass(frozen=True, eq=False, kw_only=True)
class Direction:
    """What one vector of a layer's principal mode points at.

    Args:
        layer: index of the block.
        flag: of the eigenvalue.
        vector: "right" (what the layer writes) or "left" (what it reads).
        embedding: through which embedding.
        neighbours: the tokens.
        rank: 1, or 2 for a complex pair's plane.
        chance: largest |cos| that a random direction exceeds with probability `LEVEL`.
        p_value: how often a random direction reaches the largest |cos| found.
    """

    layer: int
    flag: Flag
    vector: str
    embedding: Side
    neighbours: Neighbours
    rank: int
    chance: float
    p_value: float

    def sides(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """(side, ids, cosines): "+" and "-" of a line, "plane" of a plane."""
        found = self.neighbours
        if self.rank > 1:
            return [("plane", found.tokens, found.cosines)]
        return [("+", found.tokens, found.cosines), ("-", found.opposite, found.opposite_cosines)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Reading(TabularResult):
    """The tokens that the principal modes of a model's layers point at.

    Args:
        source: the model, as it was named.
        model_type: its architecture.
        rule: by which the modes lead.
        operator: whose modes they are.
        norm: the final normalisation is folded into the output embedding.
        width: d.
        vocabulary: for the words.
        directions: two for each layer, right and left.
        remarks: of the embeddings, in sentences.
        unit: what a block is called (`called`).
    """

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "layer",
        "rule",
        "flag",
        "vector",
        "embedding",
        "side",
        "rank",
        "token_id",
        "token",
        "cosine",
        "largest",
        "chance",
        "p_value",
        "mean",
    )
    """Columns of the table and of reading.csv; `side` is "+", "-", or "plane" for a complex pair.
    """
    FILE: ClassVar[str] = "reading.csv"

    source: str
    model_type: str
    rule: str
    operator: str
    norm: bool
    width: int
    vocabulary: Vocabulary
    directions: tuple[Direction, ...]
    remarks: tuple[str, ...] = ()
    unit: str = "layer"

    @property
    def level(self) -> float:
        """The level for one list among all of them (Bonferroni)."""
        return LEVEL / len(self.directions)

    def notes(self) -> list[str]:
        """What a reader has to know beside the numbers, in sentences."""
        notes = [*self.remarks, *self.vocabulary.notes()]
        notes.append(
            "the right vector is read through the output embedding "
            + (
                "with the gain and centring of the norms before it"
                if self.norm
                else "as it is stored, without norms"
            )
            + ", the left vector through the input embedding"
        )
        notes.append(
            f"chance is the largest |cosine| that a random direction exceeds in {LEVEL:.0%} of"
            f" cases; lists are called more than chance below p = {self.level:.2g}"
            f" ({len(self.directions)} lists looked at)"
        )
        return notes

    def sentences(self) -> list[str]:
        """One sentence for each layer and vector, no more than the numbers say."""
        verbs = {"right": "writes", "left": "reads"}
        said = []
        for each in self.directions:
            found = each.neighbours
            numbers = f"largest |cosine| {found.largest:.2f}, chance {each.chance:.2f}"
            words = " | ".join(
                ", ".join(self.vocabulary.quoted(token) for token in ids[:5].tolist())
                for _, ids, _ in each.sides()
            )
            where = "direction" if each.rank == 1 else "plane"
            what = f"{called(self.unit, each.layer)} {verbs[each.vector]} a {where}"
            if each.p_value < self.level:
                text = f"{what} near the tokens {words} ({numbers})"
                if abs(found.mean) > found.largest / 2:
                    text += (
                        f"; all tokens share a cosine of {found.mean:.2f} with it, which the list"
                        " cannot tell apart"
                    )
            else:
                text = f"{what} that is no nearer to any token than a random one may be ({numbers})"
            said.append(f"{text}.")
        return said

    def rows(self) -> list[tuple]:
        """One row for each layer, vector, side and token, in the order of `COLUMNS`."""
        return [
            (
                each.layer,
                self.rule,
                each.flag,
                each.vector,
                each.embedding,
                side,
                rank + 1,
                int(token),
                self.vocabulary.text(int(token)),
                float(cosine),
                each.neighbours.largest,
                each.chance,
                each.p_value,
                each.neighbours.mean,
            )
            for each in self.directions
            for side, tokens, cosines in each.sides()
            for rank, (token, cosine) in enumerate(zip(tokens, cosines, strict=True))
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.source,
            "model_type": self.model_type,
            "rule": self.rule,
            "operator": self.operator,
            "norm": self.norm,
            "vocabulary": self.vocabulary.size,
            "level": self.level,
            "notes": self.notes(),
            "directions": [
                {
                    "layer": each.layer,
                    "flag": each.flag,
                    "vector": each.vector,
                    "embedding": each.embedding,
                    "largest": each.neighbours.largest,
                    "chance": each.chance,
                    "p_value": each.p_value,
                    "mean": each.neighbours.mean,
                    "sides": {
                        side: [
                            [int(t), self.vocabulary.text(int(t)), float(c)]
                            for t, c in zip(ids, cos, strict=True)
                        ]
                        for side, ids, cos in each.sides()
                    },
                }
                for each in self.directions
            ],
        }


def reading(
    model: Any,
    *,
    rule: str = "consensus",
    layers: str | Sequence[int] = "all",
    top: int = 10,
    norm: bool = False,
    tokenizer: Any = None,
    layout: Layout | None = None,
    modes: Sequence[Mode] | None = None,
    progress: Progress = silent,
) -> Reading:
    """The tokens that each layer's principal mode writes and reads, from the weights alone.

    Args:
        model: as for `Subject.of`, a text model.
        rule: which mode leads: "modulus", "consensus" or "layernorm" (whose left vector acts on the
            stream before LN).
        layers: as for `spectra`.
        top: tokens on each side.
        norm: fold the final normalisation (and the LN in a head for masked tokens) into the output
            embedding.
        tokenizer: a tokenizer.json, or a tokenizer with `decode`; by default the one beside the
            weights.
        layout: for an architecture that the lens does not know.
        modes: those of the chosen layers by the rule, with their vectors, where they are known
            already.
        progress: told how many layers are done.

    Raises:
        InputError: the model cannot be read or has no vocabulary, a layer or rule does not exist,
            or top is below 1.
    """
    subject = Subject.of(model, layout=layout)
    stack = subject.stack
    chosen = chosen_layers(layers, len(stack.blocks))
    if rule not in RULES:
        raise InputError(f"rule {rule!r} does not exist; choose {', '.join(RULES)}")
    sides = {"right": output_embedding(stack, norm=norm), "left": input_embedding(stack)}
    words = vocabulary(stack, tokenizer, size=sides["right"].size)
    if modes is None:
        modes = []
        for done, index in enumerate(chosen):
            progress("tokens", done, len(chosen))
            modes.append(subject.layer(index).mode(rule))
    directions = _directions(
        sides, dict(zip(chosen, modes, strict=True)), width=stack.width, top=top
    )
    progress("tokens", len(chosen), len(chosen))
    remarks = [*stack.notes, *sides["right"].notes]
    zero = [index for index, mode in zip(chosen, modes, strict=True) if mode.flag == "zero"]
    if zero:
        remarks.append(
            f"the null space leads in {called(stack.unit, zero)}: its vectors are one choice among"
            " many; see another rule"
        )
    return Reading(
        source=stack.weights.source,
        model_type=stack.weights.model_type,
        rule=rule,
        operator=modes[0].operator,
        norm=norm,
        width=stack.width,
        vocabulary=words,
        directions=tuple(directions),
        remarks=tuple(remarks),
        unit=stack.unit,
    )


def _directions(
    sides: Mapping[str, Embedding], modes: Mapping[int, Mode], *, width: int, top: int
) -> list[Direction]:
    """Both vectors of each layer's mode, with their nearest tokens.

    Args:
        sides: the embedding of the right and of the left vector.
        modes: by layer.
        width: d.
        top: tokens on each side.
    """
    found: dict[str, list[Neighbours]] = {}
    bases = {
        "right": [mode.plane() for mode in modes.values()],
        "left": [mode.left_plane() for mode in modes.values()],
    }
    for vector, embedding in sides.items():
        found[vector] = nearest(embedding, bases[vector], top=min(top, embedding.size))
    directions = []
    for i, (index, mode) in enumerate(modes.items()):
        for vector, embedding in sides.items():
            near, rank = found[vector][i], bases[vector][i].shape[1]
            directions.append(
                Direction(
                    layer=index,
                    flag=mode.flag,
                    vector=vector,
                    embedding=embedding.side,
                    neighbours=near,
                    rank=rank,
                    chance=chance_cosine(dim=width, size=near.size, rank=rank),
                    p_value=p_largest(near.largest, dim=width, size=near.size, rank=rank),
                )
            )
    return directions
