"""`eigenloop verify`: every theorem as a claim that is measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from eigenloop.claims.results import Results

DEFAULT_OUT, ONLY_OUT = Path("runs/verify"), Path("runs/verify-only")
"""A choice of claims does not replace the ledger of all of them; without --out it replaces the
last choice.
"""


def verify(
    only: Annotated[
        str | None,
        typer.Option(
            help="Claims, or how their names begin, e.g. thm4.1,fig2; all by default.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer samples and steps: a minute and a half.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help=(
                "Directory of report.html, claims.json and claims.csv: runs/verify by default,"
                " runs/verify-only with "
                "--only."
            ),
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Start of every random stream.")] = 0,
    list_claims: Annotated[
        bool, typer.Option("--list", help="Name the claims and measure none.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Measure the theorems, lemmas and figures of arXiv 2606.00605 and say which hold.

    Exit status 0 when every verdict is the one recorded in the package (known failures included), 1
    otherwise. The same command after an interrupted one measures only what is missing.
    """
    import json as encoder
    from contextlib import nullcontext

    from eigenloop.cli.safely import safely
    from eigenloop.cli.starting import starting
    from eigenloop.system.errors import InputError

    if seed < 0:
        raise InputError(f"--seed is {seed}; it must be at least 0")
    with nullcontext() if list_claims else starting("jax"):
        from eigenloop.claims import Effort
        from eigenloop.claims.journal import Kept
        from eigenloop.claims.measuring import measure
        from eigenloop.claims.sources import collect, select
        from eigenloop.system import workers
        from eigenloop.system.bars import bars

        entries = collect()
    chosen = select(entries, only)
    if list_claims:
        given = [
            name for name, value in (("--quick", quick), ("--out", out), ("--seed", seed)) if value
        ]
        if given:
            raise InputError(
                f"--list measures nothing and writes nothing; leave out {' and '.join(given)}"
            )
        keys = ("id", "source", "provenance", "quote", "expected_verdict", "statement")
        known = [{key: getattr(entry.claim, key) for key in keys} for entry in chosen]
        lines = [
            f"{claim['id']:28} {claim['provenance']:13} {claim['expected_verdict']:10}"
            f" {claim['statement']}"
            for claim in known
        ]
        lines = encoder.dumps({"claims": known}) if json else "\n".join(lines)
        typer.echo(lines)
        return

    from eigenloop.claims.page import check_ledger, ledger_directory, write_ledger

    if out is not None or only is None:
        check_ledger(out or DEFAULT_OUT, only=only, seed=seed)
    out = out or (DEFAULT_OUT if only is None else ONLY_OUT)
    effort = Effort(quick=quick, seed=seed)
    with ledger_directory(out).held():
        kept = Kept(out, effort)
        with safely(lambda: bool(kept.found)), bars() as shown:
            results = measure(chosen, effort, shown.tell, workers=workers.cores(), kept=kept)
        files = write_ledger(results, out, only=only, workers=workers.cores())
        kept.forget()
    if json:
        paths = {"report": str(files.page), "json": str(files.json), "csv": str(files.csv)}
        typer.echo(encoder.dumps({**results.as_dict(), "only": only, **paths}, allow_nan=False))
    else:
        _summary(results, files.page)
    if not results.as_expected:
        raise typer.Exit(1)


def _summary(results: "Results", page: Path) -> None:
    """The human report on standard output."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)
    table = Table(
        "verdict",
        "provenance",
        "claim",
        "measured",
        "expected",
        "seconds",
        box=None,
        padding=(0, 2, 0, 0),
    )
    for result in results.results:
        finding = result.finding
        values = (_shown(value) for value in (finding.measured, finding.expected))
        kind = finding.kind if result.as_expected else f"{finding.kind} (unexpected)"
        table.add_row(
            *map(
                escape,
                (kind, result.claim.provenance, result.claim.id, *values, f"{result.seconds:.2f}"),
            )
        )
    if results.results:
        console.print(table)
    for result in results.results:
        if result.finding.kind != "holds" or not result.as_expected:
            console.print(f"{result.claim.id} {result.verdict}", markup=False, soft_wrap=True)
    console.print(results.summary, markup=False, soft_wrap=True)
    console.print(f"{page} ({results.seconds:.0f} s)", markup=False, soft_wrap=True)


def _shown(value: Any) -> str:
    from eigenloop.claims.results import plain

    found = plain(value)
    if isinstance(found, list):
        return ", ".join(_shown(item) for item in found[:3]) + (", …" if len(found) > 3 else "")
    return "-" if found is None else f"{found:.6g}" if isinstance(found, float) else str(found)
