"""The `headwater` command: its subcommands and their options.

Only what parsing, `--help` and `--version` need is imported here. The module of a subcommand is imported when it runs.
"""

import signal
from types import FrameType

import click
from click import Argument, Group, IntRange, Option

from graph_api.commands.lazy import LazyCommand, RootGroup
from graph_api.commands.options import DATA, HOST, PATH, PORT, TENANT, TENANT_NAME
from graph_api.ingestion.on_error import OnError

_FILE = Argument(["file"], type=PATH, help="The file; - is standard input.")
_QUOTA = "How many the tenant may have; none removes the limit."
_LOAD_OPTIONS = [
    Option(
        ["--on-error"],
        type=click.Choice(list(map(str, OnError))),
        default=str(OnError.STOP),
        show_default=True,
        help="What a bad row does: stop the load, or be skipped.",
    ),
    Option(
        ["--dry-run"],
        is_flag=True,
        help="Check and count everything, and keep nothing. One transaction holds its locks meanwhile.",
    ),
    Option(["--rejects"], type=PATH, metavar="FILE", help="CSV file to write each refused row to."),
    Option(["--actor"], help="Actor in the change log. Defaults to the user of this machine."),
    TENANT,
    DATA,
]

app = RootGroup(
    "headwater",
    help="Data lineage through time: where data came from, what it feeds, and what that looked like then.",
    no_args_is_help=True,
    commands=[
        LazyCommand(
            "demo",
            "demo:demo",
            "Serve the demo data on this machine, without credentials. Migrates the database and loads the data once.",
            [HOST, PORT, DATA],
        ),
        LazyCommand(
            "serve",
            "serve:serve",
            "Serve the API to callers with a key or a token. The database must be migrated.",
            [HOST, PORT, Option(["--workers"], type=int, help="Processes that serve. [HEADWATER_WORKERS]"), DATA],
        ),
        LazyCommand(
            "migrate",
            "migrate:migrate",
            "Migrate the database to the schema of this version. Safe to repeat, and to run twice at once.",
            [DATA],
        ),
        LazyCommand(
            "verify",
            "verify:verify",
            "Compare all versions with the change log. Lists each difference, and exits with 1 if there is one.",
            [DATA],
        ),
        LazyCommand(
            "audit",
            "audit:show_audit",
            "List the audit log of a tenant. The latest entry comes first, with actor, credential, operation and outcome.",
            [
                Option(["--count"], type=IntRange(1, 10_000), default=50, show_default=True, help="How many entries to list."),
                TENANT,
                DATA,
            ],
        ),
        LazyCommand(
            "purge",
            "purge:purge",
            "Remove permanently what is past its retention. Reports what it removed. Safe to repeat.",
            [
                Option(["--tenant"], metavar="NAME", help="Name of the tenant. Defaults to all of them."),
                Option(["--dry-run"], is_flag=True, help="Count what would be removed, and remove nothing."),
                DATA,
            ],
        ),
        LazyCommand(
            "schema",
            "schema:print_schema",
            "Print the GraphQL schema in SDL, or compare it with another. Exits with 1 if a change breaks clients.",
            [
                Option(["--since"], type=PATH, metavar="FILE", help="Earlier schema, in SDL, to list the differences from."),
                Option(
                    ["--announced"],
                    type=PATH,
                    metavar="FILE",
                    help="Changelog: what it names as changed or removed by the next release may break clients.",
                ),
            ],
        ),
        LazyCommand(
            "documents",
            "documents:check_documents",
            "Check a manifest of persisted documents. Lists each that would not run, and exits with 1 if there is one.",
            [Argument(["file"], type=PATH, help="The manifest, as for HEADWATER_PERSISTED_DOCUMENTS.")],
        ),
        Group(
            "ingest",
            help="Load files exported from other tools.",
            no_args_is_help=True,
            commands=[
                LazyCommand(
                    "csv",
                    "ingest:ingest_csv",
                    "Load entities or relationships from a CSV file. Each row states the whole entity or relationship from an"
                    " instant on. Safe to repeat.",
                    [
                        _FILE,
                        Option(["--relationships"], is_flag=True, help="The file holds relationships instead of entities."),
                        *_LOAD_OPTIONS,
                    ],
                ),
                LazyCommand(
                    "jsonl",
                    "ingest:ingest_jsonl",
                    "Load JSON lines, in any order. Each states a whole product, entity, link, relationship or type, or"
                    " deletes one. Safe to repeat.",
                    [_FILE, *_LOAD_OPTIONS],
                ),
            ],
        ),
        Group(
            "export",
            help="Write everything to a file, for other tools and for this one.",
            no_args_is_help=True,
            commands=[
                LazyCommand(
                    "jsonl",
                    "export:export_jsonl",
                    "Write everything as JSON lines. Loaded into an empty database, they give the same answers at every instant.",
                    [
                        Argument(["file"], type=PATH, default="-", help="The file; - is standard output, and the default."),
                        Option(["--as-of"], metavar="INSTANT", help="Export the state at this instant. Defaults to all history."),
                        TENANT,
                        DATA,
                    ],
                )
            ],
        ),
        Group(
            "tenants",
            help="Create, list, limit and suspend tenants.",
            no_args_is_help=True,
            commands=[
                LazyCommand(
                    "create",
                    "tenants:create",
                    "Create a tenant. Its users need keys: headwater keys create --tenant NAME.",
                    [TENANT_NAME, DATA],
                ),
                LazyCommand("list", "tenants:show", "List all tenants with status, retention and usage.", [DATA]),
                LazyCommand(
                    "settings",
                    "tenants:change_settings",
                    "Set the retention and quotas of a tenant. Without options, shows what is set.",
                    [
                        TENANT_NAME,
                        Option(
                            ["--retention-days"],
                            metavar="DAYS",
                            help="Days after which a purge may remove what was deleted; none keeps it forever.",
                        ),
                        *(Option([f"--{kind}"], metavar="NUMBER", help=_QUOTA) for kind in ("products", "entities", "links")),
                        DATA,
                    ],
                ),
                LazyCommand(
                    "suspend",
                    "tenants:suspend",
                    "Refuse all requests of a tenant. Its data is kept.",
                    [TENANT_NAME, Option(["--reason"], required=True, help="The reason, shown to callers."), DATA],
                ),
                LazyCommand("resume", "tenants:resume", "Accept the requests of a suspended tenant again.", [TENANT_NAME, DATA]),
            ],
        ),
        Group(
            "keys",
            help="Create, list and revoke API keys.",
            no_args_is_help=True,
            commands=[
                LazyCommand(
                    "create",
                    "keys:create",
                    "Create an API key. Prints it to standard output once; it cannot be shown again.",
                    [
                        Argument(["label"], help="What the key is for, or who holds it."),
                        Option(
                            ["--scope"],
                            multiple=True,
                            required=True,
                            help="Scope of the key: read, write, admin, or write:DOMAIN. May be repeated.",
                        ),
                        Option(["--expires"], metavar="INSTANT", help="Instant at which the key expires. Defaults to never."),
                        Option(
                            ["--operator"],
                            is_flag=True,
                            help="The key may act in any tenant that a request names in X-Headwater-Tenant.",
                        ),
                        TENANT,
                        DATA,
                    ],
                ),
                LazyCommand("list", "keys:show", "List the API keys of a tenant, expired and revoked ones too.", [TENANT, DATA]),
                LazyCommand(
                    "revoke",
                    "keys:revoke",
                    "Revoke an API key permanently.",
                    [Argument(["prefix"], help="Beginning of the key, as `list` shows it."), TENANT, DATA],
                ),
            ],
        ),
    ],
)
click.version_option(package_name="headwater", message="headwater %(version)s")(app)


def _exit(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Run the `headwater` command."""
    # By default these signals end the process at once; as an exception they let it clean up.
    for number in (signal.SIGTERM, signal.SIGHUP):
        # A signal that was ignored before, as by nohup, stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)
    app()
