"""The options that say how a table is to be read, the same wherever a command reads one."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from eigenloop.predict.tables import Reading

Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help=(
            "The first line of a text table names the columns, or is a sample. By default, what"
            " stands in it decides."
        ),
        show_default=False,
    ),
]
IndexColumn = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="A column that only names the rows: its name, or its position from 1.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMNS",
        help="Read these columns only: names or positions, as in height,weight or 2-5,7.",
    ),
]
Drop = Annotated[
    str | None,
    typer.Option(metavar="COLUMNS", help="Leave these columns out, named as for --columns."),
]
Missing = Annotated[
    Literal["error", "drop"],
    typer.Option(help="Refuse missing values, or leave out the rows that have one."),
]
Key = Annotated[
    str | None,
    typer.Option(help="Array to read from an .npz file, or file from a .zip, with several."),
]


def reading(
    header: bool | None,
    index_column: str | None,
    columns: str | None,
    drop: str | None,
    missing: Literal["error", "drop"],
    key: str | None,
) -> "Reading":
    """The options as `read_table` takes them."""
    from eigenloop.predict.tables import Reading

    return Reading(header, index_column, columns, drop, missing, key)


def tell(console: Any, kind: str, message: str) -> None:
    """One line on standard error."""
    console.print(f"{kind}: {message}", soft_wrap=True, markup=False, highlight=False)
