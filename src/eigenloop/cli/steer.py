"""`eigenloop steer`: a checkpoint whose tokens tilt towards a direction, with what it costs."""

from pathlib import Path
from typing import Annotated, Any

import typer


def steer(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A directory with config.json and weights, or a name on the Hugging Face hub.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Directory to write; one that exists must be ours.", show_default=False),
    ],
    toward: Annotated[
        str | None,
        typer.Option(help='Steer towards a token: " Paris" (with its blank).', show_default=False),
    ] = None,
    direction: Annotated[
        Path | None,
        typer.Option(help="Steer towards the vector in a .npy file.", show_default=False),
    ] = None,
    contrast: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Steer towards the first of two prompts, away from the second.", show_default=False
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help=(
                "tuned (signed, least damage), signed, bias; as baselines swap, swap-heads,"
                " symmetric, brauer."
            )
        ),
    ] = "tuned",
    layers: Annotated[
        str, typer.Option(help="all, late (the last third), or numbers and ranges: 0,3-5.")
    ] = "late",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    strength: Annotated[
        float | None,
        typer.Option(
            help="Push relative to the stream; 0.05 by default, negative: away.", show_default=False
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            help="Find the strength for this signed cosine (below the model's own: away).",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Find the strength for this KL to the unsteered model; for this change of"
            " similarity where it predicts no token.",
            show_default=False,
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Text to calibrate on; a packaged one by default.", show_default=False),
    ] = None,
    evaluate: Annotated[
        Path | None,
        typer.Option(
            help="Other text to evaluate on; a packaged one by default.", show_default=False
        ),
    ] = None,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Write the change alone, as PEFT loads it.")
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Of the random direction and of hidden positions.", min=0)
    ] = 0,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Steer a pretrained transformer by an edit of its weights, and measure effect and damage
    (arXiv 2605.25619).

    Writes an ordinary checkpoint (or an adapter), report.html, CSV tables and steer.json.
    """
    import json as encoder

    from eigenloop.cli.parsing import repeated
    from eigenloop.cli.starting import starting

    with starting("torch"):
        from rich.console import Console

        from eigenloop.steer.request import Request
        from eigenloop.steer.steering import steer as run
        from eigenloop.system.bars import bars

    request = Request(
        model=model,
        out=out,
        toward=toward,
        direction=direction,
        contrast=contrast,
        method=method,
        layers=layers,
        device=device,
        strength=strength,
        target=target,
        budget=budget,
        calibrate=calibrate,
        evaluate=evaluate,
        adapter=adapter,
        seed=seed,
    )
    options = {name: value for name, value in vars(request).items() if name != "model"}
    with bars() as shown:
        done = run(
            request,
            command=repeated("steer", model, options=options, defaults=_DEFAULTS),
            progress=shown.tell,
        )
    if json:
        typer.echo(encoder.dumps({**done.record, "out": str(out)}, allow_nan=False))
    else:
        _summary(Console(soft_wrap=True, highlight=False), done.record, out)


_DEFAULTS = {"method": "tuned", "layers": "late", "device": "auto", "seed": 0}


def _summary(console: Any, record: Any, out: Path) -> None:
    """The human report on standard output."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    from eigenloop.system.wording import number

    console.print(
        f"[bold]{escape(record['model'])}[/] towards {escape(record['direction'])}", highlight=False
    )
    layers = ", ".join(
        f"{layer} (heads {_heads(heads)})" for layer, heads in record["head_per_layer"].items()
    )
    console.print(
        f"{record['method']}, strength {record['strength']:.4g}, layers {layers}", markup=False
    )
    table = Table(box=SIMPLE)
    speaks = record["kl"] is not None
    damage = ("KL", "rank") if speaks else ("change of similarity",)
    for heading in ("", "strength", "cosine", "moved", "keep", *damage):
        table.add_column(heading, no_wrap=True)
    ranked = ("", number(record["token_rank_before"])) if speaks else ("0",)
    table.add_row("before", "0", number(record["signed_cos_before"]), "", "1", *ranked)
    rows = [
        ("edit", record),
        ("activation addition", record["activation_addition"]),
        ("random direction", record["random_direction"]),
    ]
    for name, found in rows:
        if found is not None:
            keys = ("kl", "token_rank_after") if speaks else ("similarity",)
            values = (
                found[key] for key in ("strength", "signed_cos_after", "moved", "keep", *keys)
            )
            table.add_row(name, *map(number, values))
    # a number that is cut short is no number: a table wider than the screen runs over
    wide = console.measure(table, options=console.options.update(max_width=1000)).maximum
    console.print(table, width=max(wide, 1), crop=False)
    if record["retrieval"] is not None:
        console.print(_retrieval(record["retrieval"]), markup=False)
    for check in record["checks"]:
        if check["passed"] is False:
            console.print(f"check fails: {check['check']} ({check['measured']})", markup=False)
    for layer, why in record["left"].items():
        console.print(f"note: layer {layer} is not edited: {why}", markup=False)
    for note in record["notes"]:
        console.print(f"note: {note}", markup=False)
    console.print(f"{record['seconds']:.0f} s; {out / 'report.html'}", markup=False)


def _retrieval(about: Any) -> str:
    """What is found among the packaged texts, in one line."""
    text = f"right sentences found: {about['before']['hits']} of {about['queries']} before"
    for name, words in (("edit", "edit"), ("activation_addition", "activation addition")):
        found = about[name]
        if found is not None:
            text += (
                f", {found['hits']} with {words} ({found['lost']} lost, {found['gained']} gained,"
                f" cosines change by {found['change']:.3g})"
            )
    return text


def _heads(heads: list[int]) -> str:
    return (
        ", ".join(map(str, heads))
        if len(heads) < 4
        else "all"
        if heads[0] == 0
        else f"{heads[0]}-{heads[-1]}"
    )
