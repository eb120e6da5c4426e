import re
from pathlib import Path

import pytest

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.service.settings import Settings, is_domain, is_loopback

GIVEN = {
    "SERVICE_BIND": "0.0.0.0",
    "SERVICE_KEYS": "keys.txt",
    "SERVICE_HOSTS": "local",
    "SERVICE_MAX_BODY_BYTES": "1",
    "SERVICE_MAX_ROWS": "2",
    "SERVICE_MAX_BUFFERED_BYTES": "3",
    "SERVICE_QUEUE": "4",
    "SERVICE_TIMEOUT_S": "0.5",
    "SERVICE_LOG_DIR": "else/logs",
    "SERVICE_LOG_MAX_BYTES": "6",
    "SERVICE_LOG_LEVEL": "ERROR",
    "SERVICE_MODELS_DIR": "else/models",
    "SERVICE_REPORTS_DIR": "else/reports",
}


def test_nothing_needs_to_be_set_and_an_empty_variable_is_none():
    assert Settings.of({}) == Settings.of(dict.fromkeys(GIVEN, "")) == Settings()
    assert (Settings().bind, Settings().keys) == ("127.0.0.1", "")


def test_every_variable_is_read():
    assert {f"SERVICE_{name.upper()}": str(value) for name, value in Settings.of(GIVEN)} == GIVEN


@pytest.mark.parametrize(
    ("variable", "value"),
    [(name, "0") for name, value in GIVEN.items() if len(value) == 1]
    + [
        ("SERVICE_MAX_ROWS", "many"),
        ("SERVICE_MAX_BODY_BYTES", "4MB"),
        ("SERVICE_LOG_LEVEL", "loud"),
        ("SERVICE_HOSTS", "all"),
    ]
    + [("SERVICE_TIMEOUT_S", "nan"), ("SERVICE_TIMEOUT_S", "0")],
)
def test_a_bad_value_is_refused_in_one_sentence_that_names_it(variable, value):
    with pytest.raises(UserError, match=f"^{variable} is '{value}': .*[a-z0-9']$"):
        Settings.of({variable: value})


def test_every_variable_is_documented_and_what_is_documented_can_be_set():
    found = re.findall(r"^# ?(SERVICE_[A-Z_]+)=(.*)$", Path(".env.example").read_text("utf-8"), re.MULTILINE)
    assert sorted(name for name, _ in found) == sorted(GIVEN)
    Settings.of(dict(found))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_this_machine_is_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "10.0.0.5", "evil.example.org", "localhost.evil.example"])
def test_every_other_host_is_not(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("host", "domain"),
    [("evil.example.org", True), ("127.0.0.1.nip.io", True), ("172.18.0.3", False), ("[::1]", False), ("api", False)],
)
def test_a_name_with_a_dot_is_a_domain_and_an_address_is_none(host, domain):
    assert is_domain(host) == domain
