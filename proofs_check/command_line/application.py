"""The verbs and their options. Each body loads what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
import typer.main

from .exit_status import guarded

app = typer.Typer(
    name="iclcheck",
    help="Checks the theory of in-context learning against trained weights.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[bool, typer.Option("--json", help="Strict JSON on stdout, progress on stderr.")]
ClaimName = Annotated[str, typer.Argument(metavar="CLAIM", help="A claim's identifier (see iclcheck list).")]
ClaimNames = Annotated[
    list[str] | None, typer.Argument(metavar="CLAIM", help="Identifiers; all claims if none is given.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A parameter as JSON; NAME=@FILE reads it from a file."),
]
ParametersFile = Annotated[
    str | None,
    typer.Option("--parameters", metavar="FILE", help="All parameters as one JSON object; - is stdin."),
]
Profile = Annotated[str, typer.Option("--profile", metavar="quick|full", help="How much to measure.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to measure.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of settings, starts and prompts.")]
Record = Annotated[
    Path | None, typer.Option("--record", metavar="DIR", help="Write records.sqlite and records.json there.")
]

OwnClaims = Annotated[
    list[Path] | None,
    typer.Option("--claims", metavar="FILE", help="Claims of your own in a Python file, which runs as your own code."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the records in --record DIR.")]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes; one per core on the CPU if not given.")]


def using(files: list[Path] | None) -> AbstractContextManager[object]:
    """The claims of these files beside the built-in ones."""
    if not files:
        return nullcontext()
    from .own_claims import in_use

    return in_use(files)


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> int:
    """Checks the theory of in-context learning against trained weights."""
    if version:
        from iclcheck import __version__

        typer.echo(__version__)
        raise typer.Exit(0)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
    return 0


@app.command("list")
def list_claims(own: OwnClaims = None, as_json: AsJson = False) -> int:
    """List the claims."""
    from .reading import list_claims

    with using(own):
        return list_claims(as_json)


@app.command()
def show(claim: ClaimName, own: OwnClaims = None, as_json: AsJson = False) -> int:
    """Show a claim: statement, assumptions, sources."""
    from .reading import show

    with using(own):
        return show(claim, as_json)


@app.command()
def derive(
    claim: ClaimName,
    latex: Annotated[bool, typer.Option("--latex", help="Print the steps as LaTeX.")] = False,
    own: OwnClaims = None,
    as_json: AsJson = False,
) -> int:
    """Derive a claim, each step checked exactly."""
    from .reading import derive

    with using(own):
        return derive(claim, latex, as_json)


@app.command()
def predict(
    claim: ClaimName,
    settings: Settings = None,
    parameters: ParametersFile = None,
    own: OwnClaims = None,
    as_json: AsJson = False,
) -> int:
    """Print the numbers of a claim for your setting."""
    from .reading import predict

    with using(own):
        return predict(claim, settings or [], parameters, as_json)


@app.command("certify")
def certify_claims(
    claims: ClaimNames = None,
    every: Annotated[bool, typer.Option("--all", help="Every claim; so it is if none is named.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Write there; .iclcheck/certificates if not given."),
    ] = None,
    recheck: Annotated[
        list[Path] | None,
        typer.Option("--recheck", metavar="FILE", help="Examine this certificate again, from the file alone."),
    ] = None,
    coq: Annotated[bool, typer.Option("--coq", help="Have coqc check theorems on fixed-point instead.")] = False,
    own: OwnClaims = None,
    as_json: AsJson = False,
) -> int:
    """Re-check derivations outside SymPy, or certificates from their files."""
    from .certifying import certify

    with using(own):
        return certify(claims or [], every, output, recheck or [], coq, as_json)


@app.command()
def check(
    context: typer.Context,
    claims: ClaimNames = None,
    profile: Profile = "quick",
    device: Device = "auto",
    seed: Seed = 0,
    record: Record = None,
    resume: Resume = False,
    workers: Workers = None,
    detect: Annotated[
        float | None, typer.Option("--detect", metavar="G", help="As large a run as catches this relative gap.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="FILE|CODE",
            help="Judge a safetensors, npz or torch file: W_PV, W_KQ (fixed-point), or a decoder's state dict "
            "(model-selection); or package.module:function, file.py:function (both, and preconditioned-gradient-step), "
            "which runs that code.",
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="W_PV=NAME", help="What W_PV or W_KQ is called in the file."),
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option(
            "--convention",
            metavar="NAME",
            help="How W_PV and W_KQ of --model are written: iclcheck, ZFB, ACDS, MHM, VO22, ZSLS, ZSLS-merged, and by "
            "commas no-1/N, 1/(N+1), masked, minus, queries-first, rows, inputs=C.",
        ),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            "--within",
            metavar="R",
            help="Allowed |A - A*|/|A*| of --model (0.05), or excess over the oracle's risk, as a share of it (0.5).",
        ),
    ] = None,
    heads: Annotated[
        int | None, typer.Option("--heads", metavar="H", help="Attention heads of a decoder given by --model.")
    ] = None,
    prompts: Annotated[
        int | None,
        typer.Option("--prompts", metavar="P", help="Prompts of each law for a decoder or function (2000)."),
    ] = None,
    settings: Settings = None,
    parameters: ParametersFile = None,
    own: OwnClaims = None,
    as_json: AsJson = False,
) -> int:
    """Check claims, or a model of your own (--model)."""
    if model is not None:
        from .judging import ModelOptions, check_model, refuse_measuring_options

        given = ("claims" if name == "own" else name for name in MEASURING_OPTIONS if is_given(context, name))
        refuse_measuring_options(given, claims or [], model)
        options = ModelOptions(model, names or [], within, settings or [], parameters, heads, prompts, seed, convention)
        return check_model(claims or [], options, as_json)
    from .checking import RunOptions, check_all
    from .judging import refuse_model_options

    about_a_model = {
        "--name": names, "--convention": convention, "--within": within, "--heads": heads, "--prompts": prompts,
    }  # fmt: skip
    refuse_model_options({**about_a_model, "--set": settings, "--parameters": parameters})
    with using(own):
        return check_all(claims or [], RunOptions(profile, device, seed, record, resume, workers, detect), as_json)


MEASURING_OPTIONS = ("profile", "device", "seed", "record", "resume", "workers", "detect", "own")


def is_given(context: typer.Context, option: str) -> bool:
    """Whether an option stands on the command line, even with its default value."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


@app.command("plan")
def plan_check(
    claim: ClaimName,
    detect: Annotated[float, typer.Option("--detect", metavar="G", help="The relative gap to catch.")],
    device: Device = "auto",
    seed: Seed = 0,
    workers: Workers = None,
    own: OwnClaims = None,
    as_json: AsJson = False,
) -> int:
    """Prompts, replicas and time that a check would take."""
    from .checking import RunOptions
    from .planning import show_plan

    with using(own):
        return show_plan(claim, RunOptions("quick", device, seed, None, False, workers, detect), as_json)


@app.command()
def controls(
    claims: ClaimNames = None,
    every_check: Annotated[
        bool,
        typer.Option("--every-check", help="Also the checks that sample prompts anew for each altered statement."),
    ] = False,
    profile: Profile = "quick",
    device: Device = "auto",
    seed: Seed = 0,
    record: Record = None,
    resume: Resume = False,
    workers: Workers = None,
    own: OwnClaims = None,
    as_json: AsJson = False,
) -> int:
    """Put altered statements to the checks; each has to be refused."""
    from .checking import RunOptions
    from .controlling import run_controls

    with using(own):
        options = RunOptions(profile, device, seed, record, resume, workers)
        return run_controls(claims or [], options, every_check, as_json)


@app.command()
def appendix(
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where to write it.")] = Path("appendix"),
    records: Annotated[
        Path | None,
        typer.Argument(metavar="RECORDS", help="Store to read; .iclcheck/records.sqlite if not given."),
    ] = None,
    profile: Profile = "quick",
    device: Device = "auto",
    seed: Seed = 0,
    own: OwnClaims = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="CLAIM", help="This claim alone; may be given several times.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write the verification appendix from records."""
    from .writing import write_appendix

    with using(own):
        return write_appendix(records, output, profile, device, seed, as_json, only or [])


@app.command()
def verify(
    file: Annotated[
        Path, typer.Argument(metavar="RECORDS.JSON", help="The records.json of an appendix, or its folder.")
    ],
    rerun: Annotated[
        str, typer.Option("--rerun", metavar="sample|all|none", help="Measurements to make again; stale ones too.")
    ] = "sample",
    sample: Annotated[int, typer.Option("--sample", metavar="N", help="How many are drawn for --rerun sample.")] = 3,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="DIGEST", help="Refuse a file with another digest.")
    ] = None,
    own: OwnClaims = None,
    as_json: AsJson = False,
) -> int:
    """Judge a records.json again: hashes, certificates, verdicts, measurements."""
    from .verifying import verify_records

    with using(own):
        return verify_records(file, rerun, sample, sha256, as_json)


Records = Annotated[
    Path | None,
    typer.Option("--records", metavar="STORE|DIR", help="Records to read; .iclcheck/records.sqlite if not given."),
]


@app.command()
def status(
    claims: ClaimNames = None,
    records: Records = None,
    profile: Profile = "quick",
    device: Device = "auto",
    seed: Seed = 0,
    own: OwnClaims = None,
    as_json: AsJson = False,
) -> int:
    """Say of each claim how far it is derived and what the records show."""
    from .checking import RunOptions
    from .reviewing import show_status

    with using(own):
        return show_status(claims or [], records, RunOptions(profile, device, seed, None, False, None), as_json)


@app.command()
def cite(
    claims: ClaimNames = None,
    records: Records = None,
    profile: Profile = "quick",
    device: Device = "auto",
    seed: Seed = 0,
    own: OwnClaims = None,
    as_json: AsJson = False,
) -> int:
    """Print BibTeX, and for each claim a sentence that a paper can use."""
    from .checking import RunOptions
    from .citing import show_citation

    with using(own):
        return show_citation(claims or [], records, RunOptions(profile, device, seed, None, False, None), as_json)


@app.command("new-claim")
def new_claim(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the claim: lower-case words joined by hyphens.")],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Where to write; NAME.py with _ for - if not given.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write a file with a claim of your own to begin with."""
    from .own_claims import write_new_claim

    return write_new_claim(name, output, as_json)


def run(arguments: Sequence[str] | None = None) -> int:
    """Parse, run and return the exit status."""

    def work() -> int:
        # Not `app(...)`: that catches Ctrl-C and a reader that went away itself, and exits with 1 then.
        command = typer.main.get_command(app)
        given = list(sys.argv[1:] if arguments is None else arguments)
        try:
            with command.make_context("iclcheck", given) as context:
                status = command.invoke(context)
        except typer.Exit as end:
            return end.exit_code
        return status if isinstance(status, int) else 0

    return guarded(work)
