"""The hostile requests of test_hostile.py, against the service in its container: read-only, and nobody special."""

from collections.abc import Iterator

import pytest
import test_hostile
from containers import stack
from hostile import HEADERS
from projects import Project
from services import Service, ask

pytestmark = pytest.mark.docker
_unharmed, oracle = test_hostile._unharmed, test_hostile.oracle
OTHER = "test_only_who_asks_for_this_machine_by_its_own_name_is_answered_without_a_key"  # here by any address
globals().update(
    {name: test for name, test in vars(test_hostile).items() if name.startswith("test_") and name != OTHER}
)


@pytest.fixture(scope="module")
def service(small_built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield the service of the small binary project, in its container."""
    with stack(small_built.copy(tmp_path_factory.mktemp("hostile")), services=("api",)) as found:
        found.up("api")
        yield found.service


def test_no_name_of_the_internet_leads_to_the_service(service: Service) -> None:
    hosts = [headers["Host"] for headers, _ in HEADERS if "Host" in headers]
    named = [
        host for host in hosts if host.rpartition(":")[0].endswith(".example.org") or host.endswith(".example.org")
    ]
    assert len(named) > 2
    for host in named:
        assert ask(service, "/example", headers={"Host": host}).status == 403
    for host in ("127.0.0.1", "localhost", "api:8000", "[::1]:8000"):
        assert ask(service, "/example", headers={"Host": host}).status == 200
