"""uvicorn's HTTP with an end to patience: it hangs up on who does not finish the head of a request in time.

A body has its limit in `guard.py`, an idle connection uvicorn's own; a head has none. `make serve` names this class.
"""

import os
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .settings import Settings

HEAD_S = Settings.of(os.environ).timeout_s
LOOK_S = 1.0


class Patience(HttpToolsProtocol):
    """One connection; between a request's head and the next one's first byte nothing is waited for."""

    waited_since: float | None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self.waited_since = self.loop.time()
        self._look()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a head."""
        self.waited_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Wait no more."""
        self.waited_since = None
        super().on_headers_complete()

    def _look(self) -> None:
        if self.waited_since is not None and self.loop.time() - self.waited_since > HEAD_S:
            self.transport.close()
        elif not self.transport.is_closing():
            self.loop.call_later(LOOK_S, self._look)
