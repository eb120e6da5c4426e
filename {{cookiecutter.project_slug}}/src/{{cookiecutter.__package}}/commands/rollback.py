"""The champion of before takes over: verified first, then the pointer moves, and the one left behind is blocked.

With a version as its argument it takes that one off the blocked: the gate may promote it again.
"""

from pathlib import Path

from .. import UserError, read_json, tell
from ..bundle import verified
from ..champion import Champion, home, move, read

POINTER, VERSIONS = Path("models/champion.json"), Path("models/versions")


def rollback() -> str:
    """Point at the version that was champion before, and return what that means.

    Raises:
        UserError: there is none, it does not answer as it did on the day of export, or the pointer changed meanwhile.
    """
    seen = read(POINTER)
    left, version = seen["version"], seen["previous"]
    if left is None:
        raise UserError("there is no champion yet; run `make pipeline`")
    if version is None:
        raise UserError(f"{POINTER} names no version before {left}; there is nothing to go back to")
    decision = home(VERSIONS, version) / "decision.json"
    verified(VERSIONS, version)
    before, blocked = read_json(decision)["champion"], [*dict.fromkeys([*seen["blocked"], left])]
    _move(seen, {"version": version, "previous": None if before in blocked else before, "blocked": blocked})
    return f"{left} is blocked; {version} answers now; `make unblock VERSION={left}` lets it be promoted again"


def unblock(version: str) -> str:
    """Take a version off the blocked, and return what that means.

    Raises:
        UserError: it is not blocked, or the pointer changed meanwhile.
    """
    seen = read(POINTER)
    if version not in seen["blocked"]:
        raise UserError(f"{version!r} is not blocked; blocked are: {', '.join(seen['blocked']) or 'none'}")
    _move(seen, {**seen, "blocked": [name for name in seen["blocked"] if name != version]})
    return f"{version} may be promoted again; until then {seen['version'] or 'no version'} answers"


def _move(seen: Champion, to: Champion) -> None:
    if not move(POINTER, seen, to):
        raise UserError(f"{POINTER} changed meanwhile; look at it, then try again")


def main(version: Path | None = None) -> str:
    """Roll back, or unblock the version that is named."""
    return rollback() if version is None else unblock(str(version))


if __name__ == "__main__":
    tell(main)
