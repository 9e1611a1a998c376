"""Settings as the options of the parts that both long-lived roles build."""

import hashlib
from pathlib import Path

from flyteidl.admin import matchable_resource_pb2

from wingbeat_catalog.options import CatalogOptions
from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.executions.why.owners import EngineTls
from wingbeat_controlplane.registry.labels import check_labels
from wingbeat_controlplane.registry.options import PlatformResources, RegistryOptions
from wingbeat_controlplane.settings import Settings
from wingbeat_controlplane.supervisor.ports import reachable_host
from wingbeat_propeller.blobs.signing import load_signing_key
from wingbeat_propeller.blobs.store import FolderOptions, StoreOptions
from wingbeat_propeller.engine.answering import ServerTls


class ConfigurationError(RuntimeError):
    """The settings do not allow this role to run; the text says what is missing."""


def database_url(settings: Settings) -> str:
    """Connection string of the database. Raises ConfigurationError when none is set."""
    url = settings.database.url.get_secret_value()
    if not url:
        raise ConfigurationError("no database: set database.url (WINGBEAT_DATABASE__URL), or run `wingbeat up`")
    return url


def server_tls(settings: Settings) -> ServerTls | None:
    """What ports of gRPC show to clients; None: they are in the clear. Raises ConfigurationError."""
    tls = settings.tls
    if tls.certificate is None and tls.key is None:
        return None
    if tls.certificate is None or tls.key is None:
        raise ConfigurationError("tls.certificate and tls.key go together")
    return ServerTls(_pem(tls.certificate, "tls.certificate"), _pem(tls.key, "tls.key"))


def engine_tls(settings: Settings) -> EngineTls:
    """How servers check engines. Raises ConfigurationError."""
    tls = settings.tls
    return EngineTls(None if tls.ca is None else _pem(tls.ca, "tls.ca"), client_host(settings).strip("[]"))


def client_host(settings: Settings) -> str:
    """Host in the addresses by which clients on this machine are told to reach the server."""
    return settings.tls.name or reachable_host(settings.server.host)


def _pem(file: Path, name: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {error}") from error


def store_options(settings: Settings, *, signing: bool) -> StoreOptions:
    """The folder or bucket of the installation; `signing` for processes that make or check URLs.

    Raises OSError when the signing key cannot be kept in the data folder.
    """
    blobs = settings.blobs
    signing_key = _signing_key(settings) if signing else None
    if blobs.bucket:
        from wingbeat_propeller.blobs.s3 import S3Options  # aiobotocore is an extra

        return S3Options(
            bucket=blobs.bucket,
            prefix=blobs.prefix,
            endpoint_url=blobs.endpoint or None,
            public_endpoint_url=blobs.public_endpoint or None,
            region=blobs.region or None,
            access_key_id=blobs.access_key or None,
            secret_access_key=blobs.secret_key.get_secret_value() or None,
            path_style=blobs.path_style,
            signing_key=signing_key,
            http_base_url=public_url(settings),
        )
    return FolderOptions(
        root=blobs.folder or settings.data_dir / "blobs", signing_key=signing_key, http_base_url=public_url(settings)
    )


def execution_defaults(settings: Settings) -> matchable_resource_pb2.WorkflowExecutionConfig:
    """What executions get that nobody said anything else for. Raises ConfigurationError for labels no pod can have."""
    launch = settings.launch
    try:
        check_labels(launch.labels)
    except ApiError as error:
        raise ConfigurationError(f"launch.labels: {error.message}") from error
    config = matchable_resource_pb2.WorkflowExecutionConfig(
        max_parallelism=settings.propeller.max_parallelism, overwrite_cache=launch.overwrite_cache
    )
    # A message that is present looks as if something were said, so what is empty stays absent.
    if launch.interruptible:
        config.interruptible.value = True
    if launch.raw_output_prefix:
        config.raw_output_data_config.output_location_prefix = launch.raw_output_prefix
    if launch.labels:
        config.labels.values.update(launch.labels)
    if launch.annotations:
        config.annotations.values.update(launch.annotations)
    for key, value in launch.envs.items():
        config.envs.values.add(key=key, value=value)
    if launch.service_account or launch.iam_role:
        config.security_context.run_as.k8s_service_account = launch.service_account
        config.security_context.run_as.iam_role = launch.iam_role
    return config


def catalog_options(settings: Settings) -> CatalogOptions:
    """What the cache of tasks may take."""
    return CatalogOptions(heartbeat_s_max=settings.cache.heartbeat_s, age_max_s=settings.cache.age_max_s)


def task_resources(settings: Settings) -> matchable_resource_pb2.TaskResourceAttributes:
    """Defaults and limits of tasks where no matchable attributes say otherwise."""
    said = settings.task_resources
    attributes = matchable_resource_pb2.TaskResourceAttributes()
    for quantities, spec in ((said.defaults, attributes.defaults), (said.limits, attributes.limits)):
        for name, quantity in quantities.items():
            setattr(spec, name, quantity)
    return attributes


def registry_options(settings: Settings) -> RegistryOptions:
    """What registered entities may be."""
    return RegistryOptions(
        domains=settings.registry.domains,
        node_limit=settings.registry.node_limit,
        resources=PlatformResources.parse(task_resources(settings)),
    )


def execution_options(settings: Settings) -> ExecutionOptions:
    """How executions are launched, by clients and by launch plan nodes alike."""
    return ExecutionOptions(
        defaults=execution_defaults(settings),
        task_resources=task_resources(settings),
        dedupe_window_s=settings.launch.dedupe_window_s,
        queue_max=settings.launch.queue_max,
    )


def _signing_key(settings: Settings) -> bytes:
    secret = settings.blobs.signing_key.get_secret_value()
    if secret:
        return hashlib.sha256(secret.encode()).digest()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return load_signing_key(settings.data_dir / "signing.key")


def public_url(settings: Settings) -> str:
    """Base URL under which clients reach the HTTP port, no slash at the end."""
    server = settings.server
    return server.public_url.rstrip("/") or f"http://{reachable_host(server.host)}:{server.http_port}"


def local_state(settings: Settings) -> Path:
    """Folder of the local runtime, shared by the engines that run tasks and the server that shows their logs."""
    return settings.data_dir / "local"
