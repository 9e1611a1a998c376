"""AuthMetadataService of an anonymous installation.

Clients in ClientSecret mode fetch both answers at their first call even though no login is ever asked for, so both are
always served, without checking who asks. The token endpoint they name does not exist yet: no call is ever refused for
want of a token, so nothing asks for one.
"""

from dataclasses import dataclass

from flyteidl.service import auth_pb2

from wingbeat_controlplane.services.rpcs import CallContext


@dataclass(frozen=True, slots=True)
class AuthMetadataOptions:
    """`http_endpoint` is the base URL under which clients reach the HTTP port."""

    http_endpoint: str
    client_id: str = "flytectl"
    redirect_uri: str = "http://localhost:53593/callback"


class AuthMetadataServicer:
    """GetOAuth2Metadata and GetPublicClientConfig."""

    def __init__(self, options: AuthMetadataOptions) -> None:
        self._options = options

    async def GetOAuth2Metadata(
        self, request: auth_pb2.OAuth2MetadataRequest, context: CallContext
    ) -> auth_pb2.OAuth2MetadataResponse:
        """Metadata in the form of RFC 8414, for the server's own issuer."""
        base = self._options.http_endpoint
        return auth_pb2.OAuth2MetadataResponse(
            issuer=base,
            authorization_endpoint=f"{base}/oauth2/authorize",
            token_endpoint=f"{base}/oauth2/token",
            jwks_uri=f"{base}/oauth2/jwks",
            response_types_supported=["code", "token", "code token"],
            scopes_supported=["all"],
            token_endpoint_auth_methods_supported=["client_secret_basic"],
            code_challenge_methods_supported=["S256"],
            grant_types_supported=["client_credentials", "refresh_token", "authorization_code"],
        )

    async def GetPublicClientConfig(
        self, request: auth_pb2.PublicClientAuthConfigRequest, context: CallContext
    ) -> auth_pb2.PublicClientAuthConfigResponse:
        """What a public client such as a CLI needs to begin a login."""
        options = self._options
        return auth_pb2.PublicClientAuthConfigResponse(
            client_id=options.client_id,
            redirect_uri=options.redirect_uri,
            scopes=["all", "offline"],
            authorization_metadata_key="flyte-authorization",
            service_http_endpoint=options.http_endpoint,
            audience=options.http_endpoint,
        )
