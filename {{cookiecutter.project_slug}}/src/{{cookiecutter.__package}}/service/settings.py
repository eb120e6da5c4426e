"""What an operator sets: the `SERVICE_*` variables, their limits and their defaults."""

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import UserError

PREFIX = "SERVICE_"


@lru_cache(1000)
def is_domain(host: str) -> bool:
    """Return whether a host is a name with a dot and no address: whoever owns it says where it leads."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return "." in host
    return False


@lru_cache(1000)
def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone; a name without a dot is nobody's on the internet."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return not is_domain(host)


class Settings(BaseModel):
    """The field `max_rows` is the variable `SERVICE_MAX_ROWS`, and so on."""

    model_config = ConfigDict(frozen=True)

    bind: str = "127.0.0.1"
    keys: str = Field("", description="file of SHA-256 digests of keys, one a line; or off")
    hosts: Literal["any", "local"] = Field("any", description="local: a request's Host is no name with a dot")
    max_body_bytes: int = Field(4 * 2**20, ge=1)
    max_rows: int = Field(10_000, ge=1)
    max_buffered_bytes: int = Field(64 * 2**20, ge=1, description="all bodies that are being received, together")
    queue: int = Field(16, ge=1, description="large requests that wait for their answer")
    timeout_s: float = Field(10, gt=0, description="for a body to arrive, and then for its answer")
    log_dir: Path = Path("logs")
    log_max_bytes: int = Field(64 * 2**20, ge=1, description="of one segment")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    models_dir: Path = Path("models")
    reports_dir: Path = Path("reports")

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings that stand in an environment.

        Raises:
            UserError: a value is not what it must be.
        """
        names = {name: f"{PREFIX}{name.upper()}" for name in cls.model_fields}
        given: dict[str, Any] = {
            name: environment[variable] for name, variable in names.items() if environment.get(variable)
        }
        try:
            return cls(**given)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            name = f"{PREFIX}{str(wrong['loc'][0]).upper()}"
            raise UserError(f"{name} is {wrong['input']!r}: {wrong['msg']}") from error
