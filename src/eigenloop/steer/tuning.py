"""What to write, layer by layer, for the same signed effect at the least damage (torch).

Writing u itself is not the cheapest way to turn final states towards u: what comes after an edited
sublayer answers it. With w_l added to the output of each edited sublayer, relative to the stream
there, and x'(w) the final states,

    minimise    mean (1 - keep)(w) / (mean cos(x'(w), u) - mean cos(x0, u))^2

by L-BFGS from w_l = u, on a few calibration prompts; the scale of w is then set for the effect
wanted. The result is written by the signed rank-one edit in the place of u. Source: worked out
here.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from eigenloop.lens.model.loaded import Model
from eigenloop.steer.edits import Site
from eigenloop.steer.prompts import Prompts

ROUNDS, STEPS = 8, 3
"""Most rounds of L-BFGS, and steps in each."""

ENOUGH = 0.03
"""Tuning ends when a round improves the loss by less than this fraction."""

PROMPTS = 8
"""Calibration prompts that are used."""


def tune(
    model: Model,
    sites: Mapping[int, Site],
    direction: Float[np.ndarray, " d"],
    prompts: Prompts,
    *,
    strength: float,
    rounds: int = ROUNDS,
) -> dict[int, np.ndarray]:
    """The vectors w_l / c to write in the place of u, for a given strength c.

    Args:
        model: a model that runs.
        sites: the layers that are edited.
        direction: u, (d,), unit.
        prompts: calibration prompts, of which the first `PROMPTS` are used.
        strength: c, the size at which u would be written; the effect is kept at that of writing c
            u.
        rounds: of L-BFGS; 0 gives u back.

    Returns:
        block -> (d,).
    """
    kind = next(model.module.parameters()).dtype
    u = torch.as_tensor(direction, dtype=kind, device=model.device)
    sizes = {block: site.reading.size for block, site in sites.items()}
    weights = torch.stack([strength * u for _ in sites]).requires_grad_(True)
    with model.running():
        before = _final(model, prompts, {}, sizes).double()
        outcome = _Outcome(before, u.double())
        wanted = float(outcome(_final(model, prompts, _named(sites, weights), sizes))[0].detach())

        def loss() -> Any:
            optimiser.zero_grad()
            with torch.enable_grad():
                effect, damage = outcome(_final(model, prompts, _named(sites, weights), sizes))
                # effect^2 makes it free of scale; the second term keeps the scale where the model
                # is to be used
                value = damage * wanted**2 / effect**2 / first + (effect / wanted - 1) ** 2
                value.backward()
            return value

        first = max(
            float(outcome(_final(model, prompts, _named(sites, weights), sizes))[1].detach()), 1e-12
        )
        optimiser = torch.optim.LBFGS(
            [weights],
            lr=1.0,
            max_iter=STEPS,
            max_eval=2 * STEPS,
            history_size=20,
            line_search_fn="strong_wolfe",
        )
        for _ in range(rounds if abs(wanted) > 1e-9 else 0):
            before_round = float(optimiser.step(loss))
            if not float(loss().detach()) < (1 - ENOUGH) * before_round:
                break
    found = weights.detach().double().cpu().numpy() / strength
    return (
        dict(zip(sites, found, strict=True))
        if np.all(np.isfinite(found))
        else dict.fromkeys(sites, direction)
    )


class _Outcome:
    """(effect, damage) of final states, both means over tokens."""

    def __init__(self, before: Any, u: Any) -> None:
        self.u, self.rest = u, before - (before @ u)[..., None] * u
        self.cosine = ((before @ u) / before.norm(dim=-1)).mean()

    def __call__(self, states: Any) -> tuple[Any, Any]:
        x = states.double()
        rest = x - (x @ self.u)[..., None] * self.u
        kept = torch.nn.functional.cosine_similarity(rest, self.rest, dim=-1)
        return ((x @ self.u) / x.norm(dim=-1)).mean() - self.cosine, (1 - kept).mean()


def _named(sites: Mapping[int, Site], weights: Any) -> dict[int, Any]:
    return dict(zip(sites, weights, strict=True))


def _final(
    model: Model, prompts: Prompts, written: Mapping[int, Any], sizes: Mapping[int, float]
) -> Any:
    """Final states of the words, with vectors added to the outputs of attention sublayers."""
    seen: list[Any] = []
    last = model.blocks[model.stack.schedule[-1]]

    def keep(module: Any, arguments: Any, result: Any) -> None:
        seen.append(result[0] if isinstance(result, tuple) else result)

    def adding(vector: Any) -> Any:
        return lambda module, arguments, result: result + vector

    with ExitStack() as stack:
        for block, vector in written.items():
            module = model.submodule(block, model.stack.layout.output)
            stack.callback(module.register_forward_hook(adding(vector * sizes[block])).remove)
        stack.callback(last.register_forward_hook(keep).remove)
        ids = torch.as_tensor(prompts.ids[:PROMPTS], device=model.device)
        model.trunk(ids, attention_mask=torch.ones_like(ids))
    return seen[-1][:, prompts.words]
