"""`lac token`: bearer tokens for endpoints."""

from __future__ import annotations

import click

from ...serving.tokens import PATTERN
from ...views.text import format_time, safe
from ..display import json_option
from ..execution import parse_duration
from ..group import Group
from ..options import Options
from ..output import note, paint, say, tell
from ..stacks import open_stack


@click.group(cls=Group)
def command() -> None:
    """Create, list or revoke bearer tokens, with which programs call endpoints as an MLflow user."""


def _parse_lifetime(ctx: click.Context, param: click.Parameter, value: str) -> float:
    if value.strip().lower() in ("never", "none"):
        raise click.BadParameter(
            "every token expires, so that a lost one doesn't stay valid; choose at most 366d and create the"
            " next token before it ends",
            ctx,
            param,
        )
    return parse_duration(ctx, param, value)


@command.command(
    "create",
    short_help="Create a token and print it once.",
    epilog=f"For secret scanners: the regular expression of a token is {PATTERN}",
)
@click.option("--user", required=True, metavar="NAME", help="The MLflow user that the token acts as.")
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="NAME",
    help="Limit the token to this endpoint. May be repeated.  [default: all that the user may use]",
)
@click.option(
    "--expires",
    required=True,
    callback=_parse_lifetime,
    metavar="DURATION",
    help="The token's lifetime, such as 30d or 12h; at most 366d.",
)
@click.option("--description", default="", metavar="TEXT", help="What the token is for.")
@json_option
@click.pass_obj
def create(
    options: Options, user: str, endpoints: tuple[str, ...], expires: float, description: str, as_json: bool
) -> int:
    """Create a bearer token for an MLflow user and print it, once: only its hash is stored, in the auth
    database.

    Send it as `Authorization: Bearer lac_…`. Roles and permissions of the user decide at each request. The
    token ends with the user; on SQLite, with a change of the user's password, too."""
    from ...views import json
    from ...views.terminal import tokens as view

    new = open_stack(options, manifests=False).create_token(
        user, seconds=expires, endpoints=endpoints, description=description
    )
    if as_json:
        say(json.document({"token": new.token, "value": new.value}))
    else:
        say(new.value)
        note(
            f"Token {new.token.token_id} of {safe(user)}, for {view.endpoints(new.token)}, expires"
            f" {format_time(new.token.expires_ms)}. Save it now: it can't be shown again."
        )
    return 0


@command.command("list", short_help="List the tokens, without their values.")
@click.option("--all", "every", is_flag=True, help="List expired and revoked tokens too.")
@json_option
@click.pass_obj
def list_(options: Options, every: bool, as_json: bool) -> int:
    """List the bearer tokens in the auth database: user, endpoints, when each expires and was last used."""
    from ...views import json
    from ...views.terminal import tokens as view

    tokens = open_stack(options, manifests=False).tokens()
    shown = [token for token in tokens if every or token.state == "active"]
    if as_json:
        say(json.document({"tokens": shown}))
    elif shown:
        tell(view.tokens(shown, paint(options)))
    else:
        note("No tokens." if every or not tokens else "No active tokens; `--all` lists the others.")
    return 0


@command.command("revoke", short_help="Revoke tokens.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.pass_obj
def revoke(options: Options, ids: tuple[str, ...]) -> int:
    """Revoke bearer tokens by their IDs, which `lac token list` shows. Endpoints refuse them within 30
    seconds."""
    open_stack(options, manifests=False).revoke_tokens(ids)
    say("\n".join(f"revoked {safe(token_id)}" for token_id in dict.fromkeys(ids)))
    return 0
