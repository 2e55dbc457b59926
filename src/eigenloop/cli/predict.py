"""`eigenloop predict`: the principal component of a table, from a trained looped transformer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eigenloop.cli.tables import Columns, Drop, Header, IndexColumn, Key, Missing, reading, tell

if TYPE_CHECKING:
    from eigenloop.predict.estimator import Prediction


def predict(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help=(
                "A table with samples in rows: text (.csv, .tsv, .txt, .dat, also as .gz or .zip),"
                " .npy, .npz or "
                ".parquet, or a data set of scikit-learn (digits, iris, wine, breast_cancer,"
                " diabetes, linnerud)."
            ),
            show_default=False,
        ),
    ],
    loops: Annotated[int, typer.Option(help="Loops K to apply.")] = 100,
    tolerance: Annotated[float, typer.Option(help="Angle to reach, in radians.")] = 1e-2,
    center: Annotated[bool, typer.Option("--center", help="Subtract the mean row first.")] = False,
    no_normalize: Annotated[
        bool,
        typer.Option(
            "--no-normalize", help="Keep the rows' lengths; only S is rescaled, to trace n."
        ),
    ] = False,
    scale: Annotated[
        bool,
        typer.Option(
            "--scale", help="Subtract the mean row and give each column unit variance first."
        ),
    ] = False,
    header: Header = None,
    index_column: IndexColumn = None,
    columns: Columns = None,
    drop: Drop = None,
    missing: Missing = "error",
    run: Annotated[
        Path | None,
        typer.Option(
            help=(
                "Apply the model of this run of `eigenloop train` (of its first seed); trains none."
            )
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Length of the training.")] = 2000,
    key: Key = None,
    seed: Annotated[int, typer.Option(help="Decides the training and the start.")] = 0,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Find a table's principal component with a looped transformer trained on synthetic data of its
    dimension.

    The trained matrices themselves are applied. The model is trained once for a dimension and kept
    in $XDG_CACHE_HOME/eigenloop (or ~/.cache/eigenloop).
    """
    import json as encoder
    import time
    from functools import partial

    from eigenloop.cli.safely import safely
    from eigenloop.cli.starting import starting

    with safely(), starting("jax"):
        from rich.console import Console

        from eigenloop import __version__
        from eigenloop.predict import doubts, estimator
        from eigenloop.predict.tables import read_table
        from eigenloop.system.bars import bars

    began, stderr = time.monotonic(), Console(stderr=True)
    estimator.check_settings(loops=loops, tolerance=tolerance)
    table = read_table(data, reading(header, index_column, columns, drop, missing, key))
    _note(stderr, f"read {table.about}")
    for said in table.notes:
        _note(stderr, said)
    treat = partial(
        estimator.Target.from_rows, center=center, normalize=not no_normalize, scale=scale
    )
    target = treat(table.rows)
    for said in doubts.warnings(table.doubts, lambda rows: treat(rows).basis[:, 0], target.basis):
        tell(stderr, "warning", said)
    if target.zero_rows and target.normalized:
        _note(
            stderr,
            f"{len(target.zero_rows)} row(s) are zero (first: row {target.zero_rows[0] + 1}) and"
            " weigh nothing",
        )
    recipe = estimator.training_recipe(table.rows.shape[1], steps=steps, seed=seed)
    if run is not None:
        blocks = estimator.blocks_of_run(run, dim=recipe.dim, note=partial(_note, stderr))
    else:
        name = f"training a looped transformer, d = {recipe.dim}"
        with safely(), bars() as shown:
            blocks = estimator.cached_blocks(
                recipe,
                progress=lambda _, done, total: shown.tell(name, done, total),
                note=partial(_note, stderr),
            )
    found = estimator.predict(target, blocks, loops=loops, tolerance=tolerance, seed=seed)
    seconds = time.monotonic() - began
    if json:
        metadata = {
            "data": data,
            "read": table.about,
            "columns": table.names,
            "version": __version__,
            "seed": seed,
            "seconds": seconds,
        }
        typer.echo(encoder.dumps({**found.as_dict(), **metadata}, allow_nan=False))
    else:
        _summary(
            Console(soft_wrap=True, highlight=False), found, table.source, table.names, seconds
        )


def _note(console: Any, message: str) -> None:
    tell(console, "note", message)


def _summary(
    console: Any, found: "Prediction", source: str, names: tuple[str, ...], seconds: float
) -> None:
    """The human report on standard output."""
    from rich.markup import escape
    from rich.table import Table

    from eigenloop.predict.estimator import ORIENTATION, PLATEAU_REASON

    console.print(
        f"[bold]{escape(source)}[/]: {found.samples} rows (samples) x {found.dim} columns"
        f" (features); {ORIENTATION}"
    )
    console.print(f"estimated: {found.estimates}")
    table = Table("feature", "component")
    order = sorted(range(found.dim), key=lambda i: -abs(found.component[i]))
    for i in order[:10]:
        table.add_row(escape(names[i]), f"{found.component[i]: .6f}")
    console.print(table)
    if found.dim > 10:
        console.print(f"(the 10 largest of {found.dim} entries; --json gives all)")
    chosen = sorted(
        {k for k in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, found.loops) if k <= found.loops}
    )
    console.print(
        f"angle to the exact eigenvector (radians): start {found.start_angle:.3g}; after loop "
        + ", ".join(f"{k}: {found.angle_to_exact[k - 1]:.3g}" for k in chosen)
    )
    console.print(f"plateau angle: {_shown(found, 'plateau_angle')} ({PLATEAU_REASON})")
    console.print(
        f"loops to {found.tolerance:g} rad: predicted by Theorem 4.6 (gamma = {found.gamma:.3g}) "
        f"{_shown(found, 'loops_predicted')}, taken {_shown(found, 'loops_taken')}"
    )
    console.print(f"explained: {100 * found.explained:.2f} % of tr S; {seconds:.1f} s")


def _shown(found: "Prediction", name: str) -> str:
    value = getattr(found, name)
    return f"none ({found.reasons[name]})" if value is None else f"{value:.3g}"
