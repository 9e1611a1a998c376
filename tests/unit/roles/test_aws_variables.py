"""What the AWS libraries of tasks learn about the installation's bucket."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from wingbeat_controlplane.roles.propeller import aws_variables
from wingbeat_controlplane.settings import BlobSettings


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Environment of a server that the usual AWS chain lets in."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").touch()
    return {"AWS_ROLE_ARN": "arn:role", "AWS_REGION": "eu-west-1", "SECRET": "x", "HOME": str(tmp_path)}


def test_the_usual_chain(environment: dict[str, str], tmp_path: Path) -> None:
    """Without credentials in the settings tasks get the AWS variables and files of the server, and nothing else."""
    assert aws_variables(BlobSettings(bucket="b", region="us-east-1"), environment) == {
        "AWS_ROLE_ARN": "arn:role",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / ".aws/credentials"),
    }


def test_credentials_in_the_settings(environment: dict[str, str]) -> None:
    """Tasks that are given the installation's credentials do not get the server's own beside them."""
    blobs = BlobSettings(bucket="b", access_key="key", secret_key=SecretStr("secret"))
    assert aws_variables(blobs, environment) == {}


def test_no_bucket(environment: dict[str, str]) -> None:
    """A folder needs none of this."""
    assert aws_variables(BlobSettings(), environment) == {}
