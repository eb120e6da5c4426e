"""uvicorn's HTTP with an end to patience: it hangs up on who does not finish a head, or take an answer, in time.

A body has its limits in `guard.py`, an idle connection uvicorn's own; the rest has them here. `make serve` names this.
"""

import os
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .settings import Settings

PATIENCE_S = Settings.of(os.environ).timeout_s
HEAD_BYTES = 64 * 1024  # of a head, or of what else is no part of a body: trailers, extensions of chunks
LOOK_S = 1.0
STOP_S = 0.1
UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*(?=\r\n)", re.IGNORECASE)
REFUSAL = b'{"error":"this is no HTTP/1.1, or its head is larger than %d bytes"}' % HEAD_BYTES


class Patience(HttpToolsProtocol):
    """One connection; between an answer's end and the next byte nothing is waited for."""

    head_since: float | None
    head_bytes = unsent_bytes = 0
    sent_at = 0.0
    stopping = False

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self.head_since = self.loop.time()
        self._look()

    def data_received(self, data: bytes) -> None:
        """Begin to wait for a head, with its first byte, and count what is not yet a whole head or a body."""
        if self.head_since is None and self.cycle.response_complete:
            self.head_since = self.loop.time()
        if self.head_since is not None and b"pgrade" in data:  # to h2c, say: the parser would skip the body
            head, end, rest = data.partition(b"\r\n\r\n")
            data = UPGRADE.sub(b"", head + end) + rest
        self.head_bytes += len(data)
        super().data_received(data)
        if self.head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("")

    def on_headers_complete(self) -> None:
        """Wait no more."""
        self.head_since, self.head_bytes = None, 0
        if self.parser.should_upgrade():  # of a head in parts; the parser would take its body for another request
            if self.cycle is None or self.cycle.response_complete:
                self.send_400_response("")
            else:
                self.cycle.keep_alive = False
            return
        super().on_headers_complete()
        if self.stopping:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Begin to count anew."""
        self.head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Tell the guard that it need not wait for the body."""
        self.scope["arrived"] = True  # type: ignore[typeddict-unknown-key]  # for the guard
        super().on_message_complete()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio asks whether to stay
        """Answer a whole request also to who will send no more, and hang up then."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    def send_400_response(self, msg: str) -> None:
        """Refuse in JSON, as everything else is refused."""
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(REFUSAL), REFUSAL))
        self.transport.close()

    def shutdown(self) -> None:
        """Hang up a moment after the service is told to stop: uvicorn does at once, though a request may lie unread."""
        self.stopping = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(STOP_S, super().shutdown)
        else:
            super().shutdown()

    def _look(self) -> None:
        now, unsent_bytes = self.loop.time(), self.transport.get_write_buffer_size()
        if unsent_bytes != self.unsent_bytes or not unsent_bytes:
            self.unsent_bytes, self.sent_at = unsent_bytes, now
        if now - self.sent_at > PATIENCE_S:
            self.transport.abort()
        elif self.head_since is not None and now - self.head_since > PATIENCE_S:
            self.transport.close()
        if unsent_bytes or not self.transport.is_closing():
            self.loop.call_later(LOOK_S, self._look)
