"""Every setting of an installation, typed, and where each value came from.

Four layers, low to high: the defaults below, a TOML file (`<data-dir>/wingbeat.toml`, or the one named by `--config` or
WINGBEAT_CONFIG), environment variables (`WINGBEAT_SERVER__GRPC_PORT=9000`; a section and its setting are parted by two
underscores, mappings and lists are JSON) and flags. Only the composition root and the command line read this module;
what lies below gets small frozen option objects.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from wingbeat_propeller.compiler.quantities import parse_quantity

FILE_NAME = "wingbeat.toml"
_PREFIX = "WINGBEAT_"
_DELIMITER = "__"

Tree: TypeAlias = Mapping[str, object]
"""Settings of one layer: section to name to value, only what that layer says."""

ResourceName: TypeAlias = Literal["cpu", "gpu", "memory", "storage", "ephemeral_storage"]

Origin: TypeAlias = Literal["default", "file", "environment", "flag"]


class SettingsError(ValueError):
    """A setting is unknown, malformed or out of range; the text names it and the layer that said it."""


def _expand(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str) and value else value


UserPath: TypeAlias = Annotated[Path, BeforeValidator(_expand)]
"""A path in which `~` stands for the home folder."""


def _check_quantities(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        amount = parse_quantity(text)
        if amount < 0 or (name == "gpu" and amount != amount.to_integral_value()):
            raise ValueError(f"{name} {text!r} must not be negative, and of GPUs a whole number is expected")
    return value


Quantities: TypeAlias = Annotated[dict[ResourceName, str], AfterValidator(_check_quantities)]

Port: TypeAlias = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    """A table of the file: closed, so that a misspelt name is an error, and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Section):
    """The gRPC and HTTP interfaces."""

    host: str = "127.0.0.1"
    """Address to listen on. There is no authentication yet: anything but loopback is open to all who reach it."""
    grpc_port: Port = 8089
    """0 chooses a free one."""
    http_port: Port = 8088
    """0 chooses a free one."""
    public_url: str = ""
    """Base of the URLs handed to clients; empty: http://<host>:<http_port>."""
    message_bytes_max: int = Field(default=64 << 20, gt=0)
    """Largest gRPC message taken."""
    grace_s: float = Field(default=5.0, ge=0)
    """How long calls under way may go on once the server is asked to stop."""
    engine_timeout_s: float = Field(default=2.0, gt=0)
    """How long an engine may take to say why an execution does not go on, before the rows are read instead."""
    watchers_max: int = Field(default=5_000, ge=0)
    """Watch streams and waits at once, by gRPC and HTTP; more are refused. 0: none."""


class TlsSettings(Section):
    """Encryption of gRPC: of the server's port, and of those on which engines answer servers and workers. HTTP stays in
    the clear; put a proxy before it."""

    certificate: UserPath | None = None
    """PEM file with the certificate, and those between it and its root. None: gRPC is in the clear."""
    key: UserPath | None = None
    """PEM file with its key."""
    ca: UserPath | None = None
    """PEM file with the authorities by which it is checked by processes of the installation, by tasks that call it, and
    by clients that read the data folder's configuration. None: those of the machine."""
    name: str = ""
    """Host name in the certificate, by which clients are told to reach the server; empty: `server.host`."""


class DatabaseSettings(Section):
    """PostgreSQL 14 or newer."""

    url: SecretStr = SecretStr("")
    """postgresql://user:password@host/name; empty: `wingbeat up` runs a private server in the data folder."""
    server_connections_max: int = Field(default=16, gt=0)
    propeller_connections_max: int = Field(default=8, ge=3)
    embedded: dict[str, str] = Field(default_factory=dict)
    """Further settings of the private PostgreSQL server, by their names in postgresql.conf."""


class BlobSettings(Section):
    """Where inputs, outputs and files lie: a folder, or a bucket of an S3 store once `bucket` is set."""

    folder: UserPath | None = None
    """Default: `blobs` in the data folder."""
    bucket: str = ""
    prefix: str = ""
    """Key prefix of everything in the bucket."""
    endpoint: str = ""
    """URL of the S3 service; empty: Amazon's."""
    public_endpoint: str = ""
    """The same as clients reach it, when that differs."""
    region: str = ""
    access_key: str = ""
    """Empty credentials: the usual AWS chain decides."""
    secret_key: SecretStr = SecretStr("")
    path_style: bool = False
    """Bucket in the path instead of the host name, as MinIO and its like want it."""
    signing_key: SecretStr = SecretStr("")
    """Key of the signed URLs of the folder store, the same in every server process; empty: made once and kept in the
    data folder."""


class PropellerSettings(Section):
    """The engine."""

    count: int = Field(default=1, ge=0, le=64)
    """Engine processes that `wingbeat up` runs."""
    name: str = ""
    """Name of an engine process, for people; empty: host and process id."""
    host: str = "127.0.0.1"
    """Address on which an engine answers the server's questions about executions, on a free port; the server must reach
    it. Empty: it answers none, and the server reads the rows."""
    number: int = Field(default=0, ge=0)
    """Place among the engine processes of one `wingbeat up`, which sets it."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Where the first engine process serves its metrics, the others on the ports after it; 0: nowhere."""
    transitions_days: int = Field(default=30, ge=1)
    """How long the log of transitions is kept."""
    lease_s: float = Field(default=6.0, gt=0)
    """How long a silent engine keeps its executions before others take them."""
    poll_s: float = Field(default=5.0, gt=0)
    """How often the database is asked for work whose notification was lost."""
    max_parallelism: int = Field(default=25, ge=0)
    """Task nodes of one execution under way at once, unless launch plan or execution say otherwise; 0: no limit."""
    offload_min_mib: int = Field(default=10, ge=0)
    """Outputs of tasks that are at least so large, each by itself, are stored apart and passed on by reference, by
    flytekit 1.13.14 or newer; 0: none are."""
    offload_max_mib: int = Field(default=1000, ge=1)
    """Where outputs are stored apart, a task fails with one that is larger than this."""
    echo_sleep_s: float = Field(default=0.0, ge=0)
    """How long tasks of type `echo` take, for tests."""
    system_retries: int = Field(default=3, ge=0)
    """How often an attempt lost to a failure of the system is repeated."""
    backoff_s: float = Field(default=1.0, ge=0)
    """Pause before an attempt lost to a failure of the system is repeated; doubles with each such failure. 0: none."""
    backoff_s_max: float = Field(default=60.0, ge=0)
    """Longest of these pauses."""
    default_attempts: int = Field(default=1, ge=1)
    """Attempts, the first included, of tasks that ask for no retries."""
    ignore_retry_cause: bool = False
    """Whether failures of the system consume the retries that tasks ask for, too, instead of their own."""
    interruptible_failure_threshold: int = -1
    """Failures of the system after which an interruptible task runs where it is not interrupted. Negative: so many of
    its last attempts do; 0: none."""


class LocalRuntimeSettings(Section):
    """Tasks as processes of this machine."""

    capacity: int = Field(default=0, ge=0)
    """Tasks at once on this machine, over all its engine processes; 0: two for each CPU."""
    path: str = ""
    """Search path for the commands of tasks; empty: the PATH of this process."""
    environments: dict[str, UserPath] = Field(default_factory=dict)
    """Container image to the virtual environment that its tasks run in."""
    container_paths: Literal["auto", "mounted", "rewritten"] = "auto"
    """How raw containers find the folders that their templates name: `mounted` there for themselves alone, `rewritten`
    to the real folders in command and variables, or `auto`: mounted where the machine permits it."""
    variables: dict[str, str] = Field(default_factory=dict)
    """Environment variables that every task gets."""
    kill_grace_s: float = Field(default=5.0, ge=0)
    """Between the polite and the final signal to an aborted task."""
    memory_poll_s: float = Field(default=0.25, gt=0)
    """How often the memory of a task with a limit is looked at."""


class WorkerSettings(Section):
    """Processes that keep the code of tasks loaded (`wingbeat worker`)."""

    count: int = Field(default=0, ge=0, le=64)
    """Workers that `wingbeat up` runs."""
    slots: int = Field(default=0, ge=0)
    """Tasks at once in each of those; 0: two for each CPU, shared among them."""
    without_worker: Literal["fall_back", "wait"] = "fall_back"
    """What becomes of a task that a worker could run when there is none for it: it runs as a process of the engine's
    machine, or waits."""
    without_worker_of: dict[str, Literal["fall_back", "wait"]] = Field(default_factory=dict)
    """The same by project, where that differs."""
    lease_s: float = Field(default=6.0, gt=0)
    """How long a silent worker keeps its tasks before they run elsewhere."""
    slots_max: int = Field(default=1_024, ge=1)
    """Slots of one worker that count, whatever it says."""
    workers_max: int = Field(default=256, ge=1, le=256)
    """Workers that may be connected to an engine."""
    drain_s: float = Field(default=5.0, ge=0)
    """How long tasks in the workers of `wingbeat up` may go on once it is stopped."""


class RegistrySettings(Section):
    """What may be registered."""

    domains: tuple[str, ...] = Field(default=("development", "staging", "production"), min_length=1)
    """Every project has these."""
    node_limit: int = Field(default=100, ge=0)
    """Most nodes of a workflow; 0: no limit."""


class TaskResourceSettings(Section):
    """Resources of tasks where no matchable attributes say otherwise: Kubernetes quantities by `cpu`, `memory`, `gpu`,
    `storage` and `ephemeral_storage`. Nothing said, or 0, means that nothing is given or limited."""

    defaults: Quantities = Field(default_factory=dict)
    """What a task gets that asks for nothing. It limits the task as well, so none is set unless you say so."""
    limits: Quantities = Field(default_factory=dict)
    """Most that a task may ask for when it is registered, and most that it gets."""


class LaunchSettings(Section):
    """Creation of executions, and what they get unless the request, its launch plan or matchable attributes say
    otherwise."""

    dedupe_window_s: float = Field(default=3.0, ge=0)
    """Identical unnamed requests of one connection within this time make one execution, unless what they would run
    with has changed meanwhile; 0: each makes one."""
    queue_max: int = Field(default=1000, ge=1)
    """Executions of one launch plan that may wait for their turn (`wingbeat.dev/overlap: queue`); more are refused."""
    not_begun_max: int = Field(default=100_000, ge=0)
    """Executions that may wait to be begun before launches in bulk and batches are held back; of ten times as many on
    also CreateExecution and its like. 0: any number."""
    key_days: float = Field(default=7.0, ge=7)
    """How long idempotency keys of launches are kept."""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    envs: dict[str, str] = Field(default_factory=dict)
    """Environment variables of tasks."""
    raw_output_prefix: str = ""
    """URI below which tasks put files and large values; empty: beside everything else in the blob store."""
    interruptible: bool = False
    """Whether tasks may run where they can be interrupted, unless their nodes say otherwise."""
    overwrite_cache: bool = False
    """Whether every execution runs what is cached again."""
    service_account: str = ""
    """Kubernetes service account that executions run as."""
    iam_role: str = ""
    """Cloud role that executions run as."""


class RetentionSettings(Section):
    """How long things are kept. Projects and domains may have policies of their own (`wingbeat retention`)."""

    executions_days: int = Field(default=0, ge=0)
    """Days that executions are kept after their end; 0: for ever."""
    cache_days: int = Field(default=0, ge=0)
    """Days that entries of the cache are kept after they were made or renewed; 0: for ever."""
    interval_s: float = Field(default=60.0, gt=0)
    """Between rounds of pruning."""
    batch: int = Field(default=200, gt=0, le=10_000)
    """Executions pruned at once."""
    rest: float = Field(default=1.0, ge=0)
    """Rest after each batch, as a multiple of the time it took."""


class OpenLineageSettings(Section):
    """Where OpenLineage events of executions go (`wingbeat[openlineage]`); nowhere unless a url or a file is set."""

    url: str = ""
    """Base of the receiver, for example http://marquez:5000."""
    endpoint: str = "api/v1/lineage"
    """Path that is added to it."""
    api_key: SecretStr = SecretStr("")
    """Sent as a bearer token."""
    file: str = ""
    """Append events to this file instead, a line of JSON each."""
    namespace: str = Field(default="wingbeat", min_length=1)
    """Of jobs; distinguishes installations that report to one receiver."""
    timeout_s: float = Field(default=5.0, gt=0)
    """For one event; it is tried again until the receiver has it."""


class SqlSettings(Section):
    """Read-only SQL over the views (`wingbeat sql`)."""

    connections_max: int = Field(default=4, ge=0)
    """Questions answered at once, of each of the two roles; 0: none are answered."""
    timeout_s: float = Field(default=30.0, gt=0)
    """Longest time a question may take."""
    rows_max: int = Field(default=100_000, gt=0)
    """Most rows that one may answer."""
    password: SecretStr = SecretStr("")
    """Of the roles wingbeat_reader and wingbeat_project_reader, where the database wants one."""


class CacheSettings(Section):
    """What is kept of the outputs of tasks, and used again."""

    connections_max: int = Field(default=4, ge=1)
    """Connections of each process for look-ups and puts, beside its other ones."""
    age_max_s: float | None = Field(default=None, gt=0)
    """Older entries are not used; unset: however old."""
    heartbeat_s: float = Field(default=10.0, gt=0, le=10)
    """How often reservations (`cache_serialize`) are extended; those of a holder that is gone lapse after three times
    this."""


class BatchSettings(Section):
    """Batches: manifests of launches."""

    manifest_bytes_max: int = Field(default=4 << 30, gt=0)
    """Largest manifest; a server that drives a batch keeps a copy among its temporary files."""
    lease_s: float = Field(default=10.0, gt=0)
    """How long a batch rests when the server that drove it is gone, before another one goes on."""


class LoggingSettings(Section):
    """Log lines on the standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    """`auto`: readable on a terminal, one JSON object a line otherwise."""


class Settings(BaseSettings):
    """The whole tree. Made by `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter=_DELIMITER,
        extra="forbid",
        frozen=True,
    )

    data_dir: UserPath = Path("~/.wingbeat").expanduser()
    """Folder of everything that `wingbeat up` keeps."""
    server: ServerSettings = ServerSettings()
    tls: TlsSettings = TlsSettings()
    database: DatabaseSettings = DatabaseSettings()
    blobs: BlobSettings = BlobSettings()
    propeller: PropellerSettings = PropellerSettings()
    local_runtime: LocalRuntimeSettings = LocalRuntimeSettings()
    workers: WorkerSettings = WorkerSettings()
    registry: RegistrySettings = RegistrySettings()
    task_resources: TaskResourceSettings = TaskResourceSettings()
    launch: LaunchSettings = LaunchSettings()
    cache: CacheSettings = CacheSettings()
    retention: RetentionSettings = RetentionSettings()
    sql: SqlSettings = SqlSettings()
    batches: BatchSettings = BatchSettings()
    openlineage: OpenLineageSettings = OpenLineageSettings()
    logging: LoggingSettings = LoggingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The layers are merged by `load_settings`, which remembers who said what."""
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of the result, for people: its dotted name, printed value (secrets hidden) and origin."""

    name: str
    value: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, the file that was read (None when there is none) and the origin of each dotted name that is set."""

    settings: Settings
    file: Path | None
    origins: Mapping[str, Origin]

    def explain(self) -> list[Setting]:
        """Every setting in the order of the declarations."""
        return [
            Setting(name, _shown(value), self.origins.get(name, "default")) for name, value in _leaves(self.settings)
        ]


def load_settings(flags: Tree | None = None, config: Path | None = None) -> LoadedSettings:
    """Merge the layers. `flags` holds only what the user typed; `config` names the file instead of the default one.

    Raises SettingsError.
    """
    said = dict(flags or {})
    _refuse_unknown_sections()
    file = _file(said, config)
    layers: list[tuple[Origin, Tree]] = [("file", _read(file) if file else {})]
    try:
        layers.append(("environment", EnvSettingsSource(Settings)()))
    except SourceError as error:
        raise SettingsError(f"{error} (environment): lists and mappings are written as JSON") from error
    layers.append(("flag", said))
    merged: dict[str, object] = {}
    origins: dict[str, Origin] = {}
    for origin, layer in layers:
        _merge(merged, layer)
        origins |= dict.fromkeys(_names(layer), origin)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError("\n".join(_sentences(error, origins))) from error
    if file is not None and origins.get("data_dir") == "file" and config is None:
        raise SettingsError(f"data_dir cannot be set in {file}, which is looked up in the data folder: use --data-dir")
    return LoadedSettings(settings.model_copy(update={"data_dir": settings.data_dir.absolute()}), file, origins)


def environment_of(flags: Tree) -> dict[str, str]:
    """The same settings as environment variables, for child processes."""
    return {
        _PREFIX + name.replace(".", _DELIMITER).upper(): str(value) for name, value in _values(flags) if value != ""
    }


def _refuse_unknown_sections() -> None:
    """The environment source overlooks what it does not know; a misspelt section must not be silent."""
    for variable in os.environ:
        section, delimiter, _ = variable.removeprefix(_PREFIX).partition(_DELIMITER)
        if variable.startswith(_PREFIX) and delimiter and section.lower() not in Settings.model_fields:
            raise SettingsError(f"{variable} (environment): there is no such setting")


def _file(flags: Tree, config: Path | None) -> Path | None:
    named = config or (Path(text).expanduser() if (text := os.environ.get(f"{_PREFIX}CONFIG")) else None)
    if named is not None:
        if not named.is_file():
            raise SettingsError(f"the settings file {named} does not exist")
        return named
    folder = flags.get("data_dir") or os.environ.get(f"{_PREFIX}DATA_DIR") or Settings.model_fields["data_dir"].default
    default = Path(str(folder)).expanduser() / FILE_NAME
    return default if default.is_file() else None


def _read(file: Path) -> Tree:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"the settings file {file} cannot be read: {error}") from error


def _merge(target: dict[str, object], layer: Tree) -> None:
    """Overlay sections; below a section a value replaces the former one whole."""
    for section, content in layer.items():
        below, above = _table(target.get(section)), _table(content)
        target[section] = {**below, **above} if below is not None and above is not None else content


def _values(layer: Tree) -> Iterator[tuple[str, object]]:
    for section, content in layer.items():
        if (table := _table(content)) is not None:
            yield from ((f"{section}.{name}", value) for name, value in table.items())
        else:
            yield section, content


def _table(value: object) -> dict[str, object] | None:
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _names(layer: Tree) -> Iterator[str]:
    return (name for name, _ in _values(layer))


def _leaves(settings: Settings) -> Iterator[tuple[str, object]]:
    for section in Settings.model_fields:
        content = getattr(settings, section)
        if isinstance(content, Section):
            yield from ((f"{section}.{name}", getattr(content, name)) for name in type(content).model_fields)
        else:
            yield section, content


def _shown(value: object) -> str:
    if (table := _table(value)) is not None:
        return ", ".join(f"{name}={item}" for name, item in table.items())
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in cast("tuple[object, ...]", value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _sentences(error: ValidationError, origins: Mapping[str, Origin]) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        origin = next((where for known, where in origins.items() if name == known or name.startswith(f"{known}.")), "")
        what = "there is no such setting" if problem["type"] == "extra_forbidden" else problem["msg"]
        yield f"{name}{f' ({origin})' if origin else ''}: {what}"
