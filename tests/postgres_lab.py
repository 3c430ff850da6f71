"""A PostgreSQL server of the tests' own: one a test process, and an empty database a test.

Import `ready_postgres` where a test wants a database with the tables of a pool, or
`postgres_url` for an empty one:

    from postgres_lab import ready_postgres

    def test_something(ready_postgres: str) -> None: ...

Several processes of a test share its database by the same URL. A test that stops the server, or
wants accounts of its own, makes a `Server`.
"""

from __future__ import annotations

import pytest

from tallystick.devnet.postgres import Server, why_not


class _Shared:
    """The server of this test process, started when the first test wants it."""

    server: Server | None = None

    @classmethod
    def get(cls, config: pytest.Config) -> Server:
        if cls.server is None:
            cls.server = Server().__enter__()
            config.add_cleanup(cls.end)
        return cls.server

    @classmethod
    def end(cls) -> None:
        if cls.server is not None:
            cls.server.__exit__(None, None, None)
            cls.server = None


@pytest.fixture
def postgres_server(request: pytest.FixtureRequest) -> Server:
    """The server that the tests of this process share: nobody stops it."""
    if reason := why_not():
        pytest.skip(reason)
    return _Shared.get(request.config)


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> str:
    """A database of the test's own, empty."""
    if reason := why_not():
        pytest.skip(reason)
    return _Shared.get(request.config).database()


@pytest.fixture
def ready_postgres(request: pytest.FixtureRequest) -> str:
    """A database of the test's own with the tables of a pool: quicker than to make them."""
    if reason := why_not():
        pytest.skip(reason)
    return _Shared.get(request.config).ready_database()
