"""One model, opened once, with the modes of its layers, each matrix solved once: what the parts of
the lens hand on.

Of a layer are kept the eigenvalues of each matrix that was asked for (raw and folded; the sum and
each head) and the principal modes of the sum with their vectors: at most 192 d bytes, 25 MB for 32
layers of d = 4096. No matrix is kept, and the weights of one layer at a time. Where a vector is
wanted again, the factors are multiplied out again and two steps of inverse iteration find it, the
same to the last bit. Above `DENSE_LIMIT` ARPACK finds no more than what leads by one growth factor,
so that there the modes are kept, and no eigenvalues.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from eigenloop.lens.model.layouts import Layout
from eigenloop.lens.model.loaded import Model, load
from eigenloop.lens.model.stack import Stack, locate
from eigenloop.lens.weights.circuits import Circuit, circuits
from eigenloop.lens.weights.modes import Arnoldi, Mode, Spectrum, solver
from eigenloop.lens.weights.operators import Growth
from eigenloop.lens.weights.rules import growth, operator


@dataclass(frozen=True, eq=False)
class LayerModes:
    """The principal modes of one layer and its heads by any rule; the eigenvalues of each matrix
    are computed once.

    BLAS runs on one thread meanwhile: its threads mostly wait for one another here, and so the bits
    do not depend on how many cores there are.

    Args:
        read: gives the raw circuit, which is not kept.

    Example:
        >>> from eigenloop.lens import planted
        >>> layer = LayerModes.of(planted(np.diag([1.0, -1.5])))
        >>> (
        ...     layer.mode("modulus").eigenvalue,
        ...     layer.mode("consensus").eigenvalue,
        ... )  # one matrix, one solve
        ((-1.5+0j), (1+0j))
    """

    read: Callable[[], Circuit]
    _eigenvalues: dict[tuple[int | None, bool], np.ndarray] = field(
        default_factory=dict, init=False, repr=False
    )
    _modes: dict[tuple[bool, Growth], Mode] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, layer: "Circuit | LayerModes") -> "LayerModes":
        """Those of a circuit that is held in memory; modes that are there already are given
        back.
        """
        return layer if isinstance(layer, LayerModes) else cls(lambda: layer)

    @property
    def circuit(self) -> Circuit:
        """The raw circuit; of a model's layer it is read."""
        return self.read()

    def mode(self, rule: str, *, head: int | None = None, sigma: float = 1.0) -> Mode:
        """The mode that leads by a rule.

        Args:
            rule: "modulus", "consensus" or "layernorm".
            head: of one head in place of their sum.
            sigma: as for `growth`.

        Raises:
            InputError: no such rule or head, or sigma is not positive.
        """
        return self.modes([rule], head=head, sigma=sigma)[rule]

    def modes(
        self, rules: Iterable[str], *, head: int | None = None, sigma: float = 1.0
    ) -> dict[str, Mode]:
        """The same by several rules; those that read one matrix form it once."""
        circuit = self.circuit
        steps = {rule: growth(circuit, rule, sigma=sigma) for rule in rules}
        found: dict[str, Mode] = {}
        # one matrix after the other: a wide layer's takes more room than its weights
        for folds in (
            False,
            True,
        ):
            family = {rule: step for rule, step in steps.items() if (rule == "layernorm") is folds}
            found |= self._led(circuit, head, folds, family)
        return {rule: found[rule] for rule in steps}

    def eigenvalues(self, rule: str) -> np.ndarray:
        """All eigenvalues of what the modes of a rule are of, largest modulus first.

        d of them, or fewer and zeros for the rest (grouped queries); none where the layer is too
        wide to find more than its leaders.
        """
        key = None, rule == "layernorm"
        if key not in self._eigenvalues:
            with threadpool_limits(1):
                self._solved(self.circuit, *key)
        return self._eigenvalues[key]

    def _led(
        self, circuit: Circuit, head: int | None, folds: bool, steps: dict[str, Growth]
    ) -> dict[str, Mode]:
        """The modes of one matrix that lead by each growth factor; those of the sum are kept."""
        kept = self._modes if head is None else {}
        missing = {rule: step for rule, step in steps.items() if (folds, step) not in kept}
        if missing:
            with threadpool_limits(1):
                solved = self._solved(circuit, head, folds)
                kept.update({(folds, step): solved.principal(step) for step in missing.values()})
        return {rule: kept[folds, step] for rule, step in steps.items()}

    def _solved(self, circuit: Circuit, head: int | None, folds: bool) -> Spectrum | Arnoldi:
        """One matrix with its eigenvalues, which are computed where they are not known."""
        matrix = operator(circuit.folded() if folds else circuit, head=head)
        solved = solver(matrix, self._eigenvalues.get((head, folds)))
        known = solved.eigenvalues if isinstance(solved, Spectrum) else np.empty(0, complex)
        self._eigenvalues.setdefault((head, folds), known)
        return solved


@dataclass(frozen=True, eq=False)
class Subject:
    """A model as the lens looks at it.

    Hand it on in place of its name, and nothing is opened or solved twice.

    Its weights have to stay as they are: of a model whose weights were changed, make another.

    Args:
        origin: the model, as it was named.
        stack: its weights, read lazily.
        layout: for an architecture that the lens does not know.
        tokenizer: for a model that the caller holds.
        device: where it runs, as for `load`.

    Example:
        >>> from eigenloop.lens import Subject, query_keys, spectra
        >>> subject = Subject.of("/models/gpt2")  # doctest: +SKIP
        >>> spectra(subject), query_keys(subject)  # doctest: +SKIP
    """

    origin: Any
    stack: Stack
    layout: Layout | None = None
    tokenizer: Any = None
    device: str = "auto"
    _layers: dict[int, LayerModes] = field(default_factory=dict, init=False, repr=False)
    _last: dict[int, Circuit] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls,
        model: Any,
        *,
        layout: Layout | None = None,
        tokenizer: Any = None,
        device: str = "auto",
    ) -> "Subject":
        """Open a model: headers alone are read.

        Args:
            model: a directory, a hub name, a loaded model of transformers, `Weights`, a `Stack`, a
                `Model` that runs, or a `Subject`, which is given back as it is.
            layout: for an architecture that the lens does not know.
            tokenizer: for a model that the caller holds.
            device: as for `load`.

        Raises:
            InputError: the model cannot be read, or its architecture is unknown.
        """
        if isinstance(model, Subject):
            return model
        stack = model.stack if isinstance(model, Model) else locate(model, layout)
        return cls(model, stack, layout, tokenizer, device)

    @cached_property
    def model(self) -> Model:
        """The model ready to run, loaded at first use.

        Raises:
            InputError: as for `load`.
        """
        return load(
            self.origin,
            tokenizer=self.tokenizer,
            device=self.device,
            layout=self.layout,
            stack=self.stack,
        )

    def layer(self, index: int) -> LayerModes:
        """The modes of a block; nothing is read before one is asked for."""
        return self._layers.setdefault(index, LayerModes(partial(self.circuit, index)))

    def circuit(self, index: int) -> Circuit:
        """The raw circuit of a block; the one that was read last is kept.

        Raises:
            InputError: there is no such block, or its weights cannot be read.
        """
        if index not in self._last:
            self._last.clear()
            self._last[index] = circuits(self.stack, index)
        return self._last[index]
