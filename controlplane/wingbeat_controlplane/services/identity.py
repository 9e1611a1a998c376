"""IdentityService of an anonymous installation: nobody is logged in, so the answer is empty."""

from flyteidl.service import identity_pb2

from wingbeat_controlplane.services.rpcs import CallContext


class IdentityServicer:
    """UserInfo."""

    async def UserInfo(
        self, request: identity_pb2.UserInfoRequest, context: CallContext
    ) -> identity_pb2.UserInfoResponse:
        """The caller: without a subject, since no one is asked to log in."""
        return identity_pb2.UserInfoResponse()
