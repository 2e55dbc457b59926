"""The compiled programs of training: drawing the data, steps of descent, metrics (JAX).

Equal settings give equal static arguments, so that runs share their compiled programs.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from eigenloop.lab import problems
from eigenloop.lab.blocks import TwoBlock
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.metrics import weight_metrics
from eigenloop.lab.objectives import Objective
from eigenloop.lab.problems import Batch

MOST_DRAWN = 2**23
"""Entries of X that are drawn at once."""


class Static:
    """Wrap an object as a static argument of a compiled function: hashed by identity."""

    def __init__(self, value: Any) -> None:
        self.value = value


@lru_cache(maxsize=64)
def static_distribution(config_of_task: tuple[tuple[str, Any], ...]) -> Static:
    """The task's distribution, from its fields of the configuration."""
    return Static(TrainConfig(**dict(config_of_task)).distribution())


@lru_cache(maxsize=64)
def static_objective(objective: Objective) -> Static:
    """An objective; equal ones give the same object."""
    return Static(objective)


NOTHING = Static(None)


SGD = Static(optax.sgd)
"""Plain gradient descent, whose learning rate is an argument of the compiled program: runs that
differ in it alone are compiled once.
"""


class Parts(NamedTuple):
    """What a compiled training program depends on, apart from its arguments."""

    distribution: Static
    objective: Static
    optimizer: Static
    batch: int
    size: int
    """Training samples; 0 draws fresh ones."""
    principal: bool
    full: bool

    def descent(self, learning_rate: jax.Array) -> optax.GradientTransformation:
        """What is done with a gradient; the rate is that of plain gradient descent alone."""
        own = self.optimizer.value
        return own(learning_rate) if self.optimizer is SGD else own

    def draw(self, key: jax.Array, size: int) -> Batch:
        """Examples of the distribution; the reduced engine reads S only, so X is dropped."""
        batch = problems.draw(self.distribution.value, key, size, principal=self.principal)
        return batch if self.full else batch._replace(columns=batch.columns[:, :, :0])


@partial(jax.jit, static_argnames=("parts", "stream", "size"))
def data_set(keys: jax.Array, *, parts: Parts, stream: int, size: int) -> Batch:
    """A data set for each seed, one after the other, and a large one in pieces: drawing takes
    six times X's memory.
    """
    distribution = parts.distribution.value
    pieces = -(-size * distribution.dim * distribution.samples // MOST_DRAWN)

    def one(key: jax.Array) -> Batch:
        key = jax.random.fold_in(key, stream)
        if pieces == 1:
            return parts.draw(key, size)
        drawn = lax.map(
            lambda key: parts.draw(key, -(-size // pieces)), jax.random.split(key, pieces)
        )
        return jax.tree.map(
            lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])[:size], drawn
        )

    return lax.map(one, keys)


@partial(jax.jit, static_argnames="parts")
def advance(
    models: Any,
    optimizer_states: Any,
    keys: jax.Array,
    train: Batch | None,
    start: jax.Array,
    stop: jax.Array,
    learning_rate: jax.Array,
    *,
    parts: Parts,
) -> tuple[Any, Any]:
    """Steps start, start + 1, ..., stop - 1 of every seed."""
    per_epoch, descent = parts.size // parts.batch, parts.descent(learning_rate)

    def one_seed(model: Any, state: Any, batch: Batch) -> tuple[Any, Any]:
        gradient = jax.grad(lambda m: jnp.mean(parts.objective.value(m, batch)))(model)
        updates, state = descent.update(gradient, state, model)
        return optax.apply_updates(model, updates), state

    def shuffled(step: jax.Array) -> jax.Array:
        """One permutation for each seed: a sort by 32 random bits."""

        def one(key: jax.Array) -> jax.Array:
            key = jax.random.fold_in(jax.random.fold_in(key, 2), step // per_epoch)
            bits, index = (
                jax.random.bits(key, (parts.size,), jnp.uint32),
                jnp.arange(parts.size, dtype=jnp.uint32),
            )
            # (bits, index) as one number sorts 5 times faster on CPUs than as two arrays
            with jax.enable_x64(True):
                words = lax.sort(
                    lax.bitcast_convert_type(jnp.stack([index, bits], axis=1), jnp.uint64)
                )
                return lax.bitcast_convert_type(words, jnp.uint32)[:, 0].astype(jnp.int32)

        return jax.vmap(one)(keys)

    def batch_of(step: jax.Array, order: jax.Array, seed_data: Batch) -> Batch:
        rows = lax.dynamic_slice(order, ((step % per_epoch) * parts.batch,), (parts.batch,))
        return seed_data[rows]

    def body(step: jax.Array, carry: tuple) -> tuple:
        models, states, order = carry
        if train is None:
            fresh = jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, 3), step))(keys)
            batches = jax.vmap(lambda key: parts.draw(key, parts.batch))(fresh)
        else:
            order = lax.cond(step % per_epoch == 0, shuffled, lambda _: order, step)
            batches = _over_seeds(partial(batch_of, step))(order, train)
        models, states = _over_seeds(one_seed)(models, states, batches)
        return models, states, order

    order = jnp.zeros((keys.shape[0], 0), jnp.int32) if train is None else shuffled(start)
    models, states, _ = lax.fori_loop(start, stop, body, (models, optimizer_states, order))
    return models, states


@partial(jax.jit, static_argnames="parts")
def measure(models: Any, train: Batch | None, test: Batch, *, parts: Parts) -> dict[str, jax.Array]:
    """The metrics of every seed, (K,) each."""

    def mean_loss(data: Batch | None) -> jax.Array:
        if data is None:
            return jnp.full(test.query.shape[0], jnp.nan)
        return lax.map(lambda pair: jnp.mean(parts.objective.value(*pair)), (models, data))

    full = models.lift() if isinstance(models, TwoBlock) else models
    return {"train_loss": mean_loss(train), "test_loss": mean_loss(test), **weight_metrics(full)}


def _over_seeds(function: Callable) -> Callable:
    """Map over the leading axis by vmap; a single seed is unwrapped instead, which compiles to
    faster products.
    """

    def mapped(*arguments: Any) -> Any:
        if jax.tree.leaves(arguments)[0].shape[0] > 1:
            return jax.vmap(function)(*arguments)
        result = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
        return jax.tree.map(lambda leaf: leaf[None], result)

    return mapped
