"""`eigenloop train`: train a looped transformer and keep the run in a directory."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from eigenloop.cli.parsing import numbers
from eigenloop.cli.tables import Columns, Drop, Header, IndexColumn, Key, Missing, reading, tell

if TYPE_CHECKING:
    from rich.console import Console

    from eigenloop.lab.config import TrainConfig
    from eigenloop.predict.tables import Reading

DEFAULT_OUT = Path("runs/train")


def train(
    task: Annotated[
        Literal["sphere", "planted", "rotated"],
        typer.Option(
            help="sphere: Task 1. planted: Task 2, a fixed spectrum. rotated: rotations of --x0."
        ),
    ] = "sphere",
    multiplicities: Annotated[
        str | None,
        typer.Option(help="Eigenvalues of planted S, e.g. 5,4,3: d integers that sum to n."),
    ] = None,
    x0: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help=(
                "X0 of --task rotated, of full rank: a table that predict reads. Its rows are the"
                " data vectors; each "
                "is divided by its norm."
            ),
        ),
    ] = None,
    header: Header = None,
    index_column: IndexColumn = None,
    columns: Columns = None,
    drop: Drop = None,
    missing: Missing = "error",
    key: Key = None,
    min_eigenvalue: Annotated[
        float | None,
        typer.Option(help="Draw again while the smallest eigenvalue of S is below this."),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(
            help="d, length of a data vector; 16, or that of --x0, by default.", show_default=False
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="n, columns of X; 32 or the rows of --x0 by default.", show_default=False
        ),
    ] = None,
    loops: Annotated[
        int | None, typer.Option(help="L of the end-to-end objective; 10 by default.")
    ] = None,
    objective: Annotated[
        Literal["end-to-end", "layerwise"],
        typer.Option(
            help=(
                "end-to-end: squared distance of y_L to the subspace. layerwise: one step of the"
                " power method."
            )
        ),
    ] = "end-to-end",
    no_norm: Annotated[
        bool, typer.Option("--no-norm", help="Leave the normalisation out.")
    ] = False,
    target: Annotated[
        Literal["normalized", "unnormalized"], typer.Option(help="Layerwise target: Sq/|Sq| or Sq.")
    ] = "normalized",
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training set; 2000 by default.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Gradient steps, in place of --epochs.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Draw new samples in every step.")] = False,
    learning_rate: Annotated[float, typer.Option(help="Learning rate of plain SGD.")] = 0.1,
    batch: Annotated[int, typer.Option(help="Batch size.")] = 128,
    train_size: Annotated[int, typer.Option(help="Training samples.")] = 10_000,
    test_size: Annotated[int, typer.Option(help="Test samples.")] = 2_000,
    seed: Annotated[int, typer.Option(help="Decides data, shuffles and queries.")] = 0,
    seeds: Annotated[int, typer.Option(help="Independent runs side by side.")] = 1,
    b0: Annotated[float, typer.Option(help="Start of B = b_0 I; the paper's is 0.")] = 0.0,
    residual: Annotated[
        float, typer.Option(help="c of N(c q + A S B q), or its start; the paper's is 1.")
    ] = 1.0,
    learn_residual: Annotated[bool, typer.Option("--learn-residual", help="Learn c.")] = False,
    untied: Annotated[
        bool, typer.Option("--untied", help="Give each of the L layers weights of its own.")
    ] = False,
    engine: Annotated[
        Literal["reduced", "full"],
        typer.Option(help="reduced: the two active blocks (exact). full: all of V and W."),
    ] = "reduced",
    dtype: Annotated[
        Literal["float32", "float64"],
        typer.Option(
            help=(
                "float32 updates can fall below rounding in very long runs; float64 costs about"
                " twice."
            )
        ),
    ] = "float32",
    out: Annotated[
        Path, typer.Option(help="The run's directory; an interrupted or shorter run goes on.")
    ] = DEFAULT_OUT,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Train a looped transformer by SGD and write metrics.csv, config.toml and
    weights.safetensors to --out.
    """
    import json as encoder

    from eigenloop.cli.safely import safely
    from eigenloop.cli.starting import starting

    with safely(), starting("jax"):
        from rich.console import Console

        from eigenloop.lab import training
        from eigenloop.system.bars import bars

    stderr = Console(stderr=True, soft_wrap=True, highlight=False)
    how = reading(header, index_column, columns, drop, missing, key)
    with safely():
        rows, remarks = _unit_rows(x0, how)
        given = (
            None
            if multiplicities is None
            else numbers("multiplicities", multiplicities, int, example="5,4,3")
        )
        sizes = {
            name: size for name, size in (("dim", dim), ("samples", samples)) if size is not None
        }
        config = training.TrainConfig.create(
            task=task,
            multiplicities=given,
            min_eigenvalue=min_eigenvalue,
            x0=rows,
            **sizes,
            loops=10 if loops is None else loops,
            objective=objective,
            norm=not no_norm,
            target=target,
            epochs=epochs,
            steps=steps,
            fresh=fresh,
            learning_rate=learning_rate,
            batch=batch,
            train_size=train_size,
            test_size=test_size,
            seed=seed,
            seeds=seeds,
            b0=b0,
            residual=residual,
            learn_residual=learn_residual,
            untied=untied,
            engine=engine,
            dtype=dtype,
        )
    for kind, said in remarks:  # only now: where the input is refused, its line stands alone
        tell(stderr, kind, said)
    _warn(stderr, config, loops)
    with safely(lambda: (out / "checkpoint.safetensors").exists()), bars() as shown:
        run = training.train(config, out, progress=shown.tell)
    summary = run.summary()
    if json:
        typer.echo(encoder.dumps(summary, allow_nan=False))
    else:
        _summary(Console(soft_wrap=True, highlight=False), summary, out)


def _warn(stderr: "Console", config: "TrainConfig", loops: int | None) -> None:
    """What the user may not expect of a run, before it begins.

    Args:
        stderr: where to.
        config: the run.
        loops: as they were given.
    """
    from eigenloop.lab import problems

    if config.objective == "layerwise" and loops not in (None, 1):
        stderr.print(
            f"note: --objective layerwise trains one layer; --loops {loops} does not change it",
            markup=False,
        )
    for breach in problems.assumption_breaches(config.distribution()):
        stderr.print(f"warning: {breach}", markup=False)


def _summary(stdout: "Console", summary: dict[str, Any], out: Path) -> None:
    """The human report on standard output."""
    for key in (
        "steps",
        "train_loss",
        "test_loss",
        "a",
        "b",
        "gamma",
        "c",
        "off_diagonal_ratio",
        "seconds",
    ):
        if key in summary:
            stdout.print(f"{key:20} {_shown(summary[key])}", markup=False)
    stdout.print(f"{'run':20} {out}", markup=False)


def _unit_rows(source: str | None, how: "Reading") -> tuple[Any, list[tuple[str, str]]]:
    """The rows of --x0 at unit length (None without it), and remarks on how it was read."""
    from eigenloop.predict.tables import read_table
    from eigenloop.predict.targets import treated
    from eigenloop.system.errors import InputError

    if source is None:
        if how != type(how)():
            raise InputError(
                "options that say how to read a table are for --x0, which is not given; leave"
                " them out"
            )
        return None, []
    table = read_table(source, how)
    doubts = [f"{doubt.sentence}; {doubt.remedy}" for doubt in table.doubts]
    remarks = [
        ("note", f"read {table.about}"),
        *(("warning", said) for said in (*table.notes, *doubts)),
    ]
    rows = treated(table.rows, rounding=0.0, unit=True)
    if not rows.any(axis=1).all():
        raise InputError(
            f"--x0 {source}: row {int(rows.any(axis=1).argmin()) + 1} is zero and has no direction;"
            " remove it"
        )
    return rows, remarks


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " ".join(_shown(item) for item in value)
    return (
        "undefined" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    )
