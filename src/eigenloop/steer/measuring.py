"""What a steered model does, prompt by prompt, beside what it did before (torch).

    cosine     mean over tokens of the signed cos(x, u) of final states x
    moved      share of tokens whose cos(x, u) is larger than before
    keep      mean over tokens of cos(x', x0) with u taken out of both, x0 the unsteered final state
    kl         mean over positions of KL(unsteered || steered), nats
    nll   mean negative log-likelihood of the text's own tokens (masked models: at hidden positions)
    logit, probability, rank    of the target token; rank 1 is the most likely; its median over
                                positions
    similarity    mean over the other prompts of |cos' - cos| of pooled vectors, where pooling is
                  given

A causal model is asked at every position of a prompt, a masked one at `HIDDEN` positions, hidden
one at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from eigenloop.lens.model.loaded import Model
from eigenloop.steer.embedding import Pooling
from eigenloop.steer.prompts import Prompts
from eigenloop.steer.retrieval import pair_changes
from eigenloop.steer.running import forward

HIDDEN = 2
"""Positions of a prompt that are hidden from a masked model, one at a time."""

KINDS = ("cosine", "moved", "keep", "kl", "nll", "logit", "probability", "rank", "similarity")
"""What is measured."""


def vocabulary(model: Model) -> str | None:
    """How the model speaks: "causal", "masked", or None where it has no head over the
    vocabulary.
    """
    name = type(model.module).__name__
    if name.endswith(("LMHeadModel", "ForCausalLM")):
        return "causal"
    return "masked" if name.endswith("ForMaskedLM") and _mask(model) is not None else None


@dataclass(frozen=True, eq=False)
class Bench:
    """Prompts, a direction and what the unsteered model does with them; `measure()` is run inside
    an edit.

    Args:
        model: a model that runs.
        prompts: of one length.
        direction: u, (d,), unit.
        token: the target token, where there is one.
        states: final states before, one tensor for each batch.
        scores: log-probabilities before, by batch, where the model has a vocabulary.
        seed: of the hidden positions.
        pooling: how a prompt becomes one vector, where similarity is to be measured.
        similar: cosine of each prompt's vector with each before, where there is a pooling.
    """

    model: Model
    prompts: Prompts
    direction: Float[np.ndarray, " d"]
    token: int | None
    states: tuple[Any, ...]
    scores: tuple[Any, ...]
    seed: int
    pooling: Pooling | None = None
    similar: Float[np.ndarray, "n n"] | None = None

    @classmethod
    def of(
        cls,
        model: Model,
        prompts: Prompts,
        direction: Float[np.ndarray, " d"],
        *,
        token: int | None = None,
        seed: int = 0,
        pooling: Pooling | None = None,
    ) -> "Bench":
        """Run the unsteered model."""
        empty = cls(model, prompts, direction, token, (), (), seed, pooling)
        ran = list(empty._run())
        return cls(
            model,
            prompts,
            direction,
            token,
            tuple(s for s, _, _, _ in ran),
            tuple(p for _, p, _, _ in ran),
            seed,
            pooling,
            _similar([pooled for _, _, _, pooled in ran]) if pooling else None,
        )

    def measure(self) -> dict[str, np.ndarray]:
        """Every kind of `KINDS` that there is, one value for each prompt, of the model as it is
        now.
        """
        found: dict[str, list[np.ndarray]] = {}
        vectors = []
        u = torch.as_tensor(self.direction, device=self.model.device)
        for (states, scores, answers, pooled), before, old in zip(
            self._run(), self.states, self.scores, strict=True
        ):
            values = {
                **_states(states.double(), before.double(), u),
                **_scores(scores, old, answers, self.token),
            }
            for name, value in values.items():
                found.setdefault(name, []).append(value.cpu().numpy().astype(np.float64))
            vectors.append(pooled)
        result = {name: np.concatenate(parts) for name, parts in found.items()}
        if self.similar is not None:
            result["similarity"] = pair_changes(self.similar, _similar(vectors))
        return result

    def _run(self) -> Any:
        """Batches of (final states of the words, log-probabilities (prompts, positions,
        vocabulary), the answers, pooled vectors).
        """
        kind = vocabulary(self.model)
        words = self.prompts.words
        hidden = self._hidden() if kind == "masked" else None
        masked = iter(()) if hidden is None else forward(self.model, hidden[0])
        done = 0
        for states, returned in forward(self.model, self.prompts, trunk=kind != "causal"):
            size = len(states)
            scores = answers = None
            if kind == "causal":
                scores = returned.logits[:, words].float().log_softmax(-1)
                ids = torch.as_tensor(self.prompts.ids[done : done + size], device=states.device)[
                    :, words
                ]
                answers = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], -1)], 1)
            elif hidden is not None:
                logits, places = (
                    [],
                    torch.as_tensor(hidden[1][done * HIDDEN : (done + size) * HIDDEN]),
                )
                while sum(map(len, logits)) < size * HIDDEN:
                    logits.append(next(masked)[1].logits)
                here = torch.cat(logits)[torch.arange(size * HIDDEN), places]
                scores = here.float().log_softmax(-1).reshape(size, HIDDEN, -1)
                ids = torch.as_tensor(self.prompts.ids[done : done + size], device=states.device)
                answers = torch.gather(ids, 1, places.reshape(size, HIDDEN).to(ids.device))
            pooled = None
            if self.pooling is not None:  # special tokens count, and so does a final normalisation
                last = self._last(states, returned)
                pooled = torch.nn.functional.normalize(self.pooling(last.double()), dim=-1)
            yield states[:, words], scores, answers, pooled
            done += size

    def _last(self, states: Any, returned: Any) -> Any:
        """What the trunk ends in: of a model with a head, the final states normalised again."""
        if vocabulary(self.model) != "causal":
            return returned[0]
        norm = self.model.outside(self.model.stack.layout.final_norm)
        return states if norm is None else norm(states)

    def _hidden(self) -> tuple[Prompts, np.ndarray]:
        """Each prompt `HIDDEN` times with one position hidden in each, and the positions."""
        rng = np.random.default_rng([self.seed, 1])
        words = np.arange(self.prompts.ids.shape[1])[self.prompts.words]
        places = np.stack(
            [rng.choice(words, HIDDEN, replace=False) for _ in range(len(self.prompts))]
        ).ravel()
        ids = np.repeat(self.prompts.ids, HIDDEN, axis=0)
        ids[np.arange(len(ids)), places] = _mask(self.model)
        return Prompts(ids, self.prompts.first, self.prompts.last), places


def _similar(vectors: list[Any]) -> np.ndarray:
    """Cosine of each vector, of unit length, with each."""
    table = torch.cat(vectors)
    return (table @ table.T).cpu().numpy()


def _states(states: Any, before: Any, u: Any) -> Mapping[str, Any]:
    now, was = ((x @ u) / x.norm(dim=-1) for x in (states, before))
    rest, old = (x - (x @ u)[..., None] * u for x in (states, before))
    kept = torch.nn.functional.cosine_similarity(rest, old, dim=-1)
    return {"cosine": now.mean(1), "moved": (now > was).double().mean(1), "keep": kept.mean(1)}


def _scores(scores: Any, old: Any, answers: Any, token: int | None) -> Mapping[str, Any]:
    if scores is None:
        return {}
    asked = answers >= 0
    own = scores.gather(-1, answers.clamp(min=0)[..., None])[..., 0]
    result = {
        "kl": (old.exp() * (old - scores)).sum(-1).mean(1),
        "nll": -(own * asked).sum(1) / asked.sum(1),
    }
    if token is not None:
        target = scores[..., token]
        result |= {
            "logit": (target - scores.mean(-1)).mean(1),
            "probability": target.exp().mean(1),
            "rank": (scores > target[..., None]).sum(-1).double().median(1).values + 1,
        }
    return result


def _mask(model: Model) -> int | None:
    return getattr(model.tokenizer, "mask_token_id", None)
