"""`eigenloop theory`: exact limits, constants and rates of a spectrum."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from eigenloop.theory.summary import Spectra, Summary

SIZES = {"dim": 16, "samples": 32, "draws": 512}


def theory(
    eigenvalues: Annotated[
        str | None,
        typer.Option(
            help="Eigenvalues of S = X X^T, e.g. 5,4,3,3,2; in any order.", show_default=False
        ),
    ] = None,
    task: Annotated[
        Literal["sphere"] | None,
        typer.Option(
            help="sphere: Task 1, averages over sampled X with standard errors.", show_default=False
        ),
    ] = None,
    dim: Annotated[
        int | None, typer.Option(help="d of --task; 16 by default.", show_default=False)
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="n of --task; 32 by default.", show_default=False)
    ] = None,
    draws: Annotated[
        int | None, typer.Option(help="Sampled X of --task; 512 by default.", show_default=False)
    ] = None,
    loops: Annotated[int, typer.Option(help="L of the end-to-end model.")] = 10,
    gamma: Annotated[
        str | None,
        typer.Option(help="Values of gamma = ab at which to give the losses, e.g. 0.5,-0.4."),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="With --steps: where population gradient descent ends.")
    ] = None,
    steps: Annotated[float | None, typer.Option(help="Gradient steps, e.g. 1e6.")] = None,
    seed: Annotated[int, typer.Option(help="Decides the sampled X.")] = 0,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Give the limits, constants and rates of arXiv 2606.00605 for a spectrum, each with an
    estimate of its error.

    Expectations over q are exact integrals. Without --eigenvalues and --task: the paper's Task 2 as
    inferred.
    """
    import json as encoder
    import time

    from eigenloop import __version__
    from eigenloop.cli.parsing import numbers
    from eigenloop.system.bars import bars
    from eigenloop.system.errors import InputError
    from eigenloop.theory.summary import Spectra, summarize

    began = time.monotonic()
    sizes = {"dim": dim, "samples": samples, "draws": draws}
    given = next((name for name, value in sizes.items() if value is not None), None)
    if eigenvalues is not None and task is not None:
        raise InputError(f"--eigenvalues and --task {task} are both given; give one of them")
    if task is None and given:
        raise InputError(
            f"--{given} belongs to --task sphere; give that too, or leave --{given} out"
        )
    if (learning_rate is None) != (steps is None):
        raise InputError("--learning-rate and --steps go together; give both or neither")
    if seed < 0:
        raise InputError(f"--seed is {seed}; it must be at least 0")
    gammas = [] if gamma is None else numbers("gamma", gamma, float, example="0.5,5")
    if task is None:
        of = Spectra.fixed(
            _default()
            if eigenvalues is None
            else numbers("eigenvalues", eigenvalues, float, example="5,4,3,3,2")
        )
    else:
        of = Spectra.sphere(
            **{name: SIZES[name] if n is None else n for name, n in sizes.items()}, seed=seed
        )
    ends: dict[str, Summary] = {}
    with bars() as shown:
        if learning_rate is not None and steps is not None:
            from eigenloop.theory.dynamics import check_steps
            from eigenloop.theory.endpoints import endpoints

            check_steps(learning_rate, steps)
            ends = endpoints(
                of, loops=loops, learning_rate=learning_rate, steps=steps, progress=shown.tell
            )
        found = summarize(of, loops=loops, gammas=gammas, progress=shown.tell)
    about: dict[str, Any] = {"dim": of.rows.shape[1], "loops": loops}
    if task is None:
        about |= {"eigenvalues": of.rows[0].tolist()}
    else:
        about |= {"task": task, "samples": samples or SIZES["samples"], "draws": len(of.rows)}
    about |= {"gamma": gammas} if gammas else {}
    about |= {"learning_rate": learning_rate, "steps": int(steps)} if steps is not None else {}
    seconds = time.monotonic() - began
    if json:
        document = {**about, **_document(found, ends, sampled=task is not None)}
        metadata = {"version": __version__, "seed": seed, "seconds": seconds}
        typer.echo(encoder.dumps({**document, **metadata}, allow_nan=False))
    else:
        _table(about, found, ends, of, seconds)


def _default() -> tuple[int, ...]:
    from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES

    return DEFAULT_MULTIPLICITIES


def _document(found: "Summary", ends: "dict[str, Summary]", *, sampled: bool) -> dict[str, Any]:
    """The numbers, and objects of the same shape for their errors."""
    document = dict(found.values)
    sizes = {"dim": None, "loops": None}  # given, not estimated
    parallel: dict[str, dict[str, Any]] = {
        "errors": sizes | found.errors,
        "stderr": sizes | found.stderr,
    }
    reasons = dict(found.reasons)
    for kind, summary in ends.items():
        document[kind] = _nested(summary.values)
        parallel["errors"][kind], parallel["stderr"][kind] = (
            _nested(summary.errors),
            _nested(summary.stderr),
        )
        reasons |= {f"{kind}.{name}": reason for name, reason in summary.reasons.items()}
    if not sampled:
        del parallel["stderr"]
    return {**document, **parallel, "reasons": reasons}


def _nested(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        setting, _, quantity = name.partition(".")
        nested.setdefault(setting, {})[quantity] = value
    return nested


def _table(
    about: dict[str, Any],
    found: "Summary",
    ends: "dict[str, Summary]",
    of: "Spectra",
    seconds: float,
) -> None:
    """The human report on standard output."""
    from rich.console import Console
    from rich.table import Table

    console, sampled = Console(highlight=False, soft_wrap=True), len(of.rows) > 1
    head = f"d = {about['dim']}, L = {about['loops']}"
    if sampled:
        console.print(
            f"Task 1, {head}, n = {about['samples']}: averages over {about['draws']} sampled X"
        )
    else:
        console.print(
            f"{head}, eigenvalues {', '.join(f'{value:g}' for value in about['eigenvalues'])}"
        )
    columns = ("quantity", "value", "standard error" if sampled else "relative error")
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    at = about.get("gamma", [])
    named = {"": found, **{f"{kind} ": summary for kind, summary in ends.items()}}
    for prefix, summary in named.items():
        beside = summary.stderr if sampled else summary.errors
        for name, value in summary.values.items():
            parts = (
                zip(value, beside[name], at, strict=True)
                if isinstance(value, list)
                else [(value, beside[name], "")]
            )
            for number, error, where in parts:
                label = prefix + name + (f" at gamma = {where:g}" if where != "" else "")
                table.add_row(
                    label, "undefined" if number is None else f"{number:.12g}", _error(error)
                )
    console.print(table)
    for prefix, summary in named.items():
        for name, reason in summary.reasons.items():
            console.print(f"{prefix}{name}: {reason}", markup=False)
    console.print(f"{seconds:.1f} s")


def _error(error: float | None) -> str:
    return "" if error is None else "exact" if error == 0 else f"{error:.1g}"
