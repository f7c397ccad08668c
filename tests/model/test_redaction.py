"""What people may see of an address that may hold a secret."""

from __future__ import annotations

import pytest

from lifecycle_as_code.model.redaction import without_credentials


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/srv/models/a@b?c", "/srv/models/a@b?c"),
        ("models:/m-1", "models:/m-1"),
        ("models:/fraud@champion", "models:/fraud@champion"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("s3://KEY:SECRET@bucket/a", "s3://bucket/a"),
        ("s3://KEY:SE/CR@ET@bucket/a", "s3://bucket/a"),
        ("https://host:80/a?sig=SECRET#SECRET", "https://host:80/a"),
        ("https://host/a?sig=SEC@RET", "https:…"),
        ("s3://KEY:SE?CRET@bucket/a", "s3:…"),
        ("mlflow-artifacts:/a?token=SECRET", "mlflow-artifacts:/a"),
        ("abfss://box@account.dfs.core.windows.net/a", "abfss://box@account.dfs.core.windows.net/a"),
        ("abfss://box:SECRET@account.dfs.core.windows.net/a", "abfss://account.dfs.core.windows.net/a"),
        ("git+https://SECRET@github.com/team/project#sub", "git+https://github.com/team/project"),
        ("", ""),
        ("https://ann:SECRET@git.example/infra.git", "https://git.example/infra.git"),
        ("https://SECRET@git.example/infra.git", "https://git.example/infra.git"),
        ("https://ann:SECRET@git.example:8443/infra.git#SECRET", "https://git.example:8443/infra.git"),
        ("ssh://git@git.example/infra.git", "ssh://git.example/infra.git"),
        ("git@git.example:infra.git", "git@git.example:infra.git"),
        ("https://git.example/infra.git?private_token=SECRET", "https://git.example/infra.git"),
        ("https://ann:SEC@RET@git.example/infra.git", "https://git.example/infra.git"),
        ("ann:SECRET@git.example:infra.git", "git.example:infra.git"),
        ("a_user:SE/CRET@git.example:infra.git", "git.example:infra.git"),
        ("https://ann:SECRET?@git.example/infra.git", "https:…"),
        ("/srv/git/infra.git", "/srv/git/infra.git"),
        ("http://[", "http://["),
    ],
)
def test_an_address_as_people_may_see_it(uri: str, expected: str) -> None:
    assert without_credentials(uri) == expected
    assert "SECRET" not in without_credentials(uri)
