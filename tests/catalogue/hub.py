"""A stand-in model hub on 127.0.0.1 that fails as it is told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hub:
    """`data` is the file.  Each request takes the next of `acts`; when they are used up, it behaves.

    Acts: a number n below 300: break the connection after n KiB; a status from 300 up is answered as
    such (`location` for a redirect); "silent": send headers and then nothing; "no-ranges": answer
    200 with the whole file; "odd-range": answer 206 with a wrong range.
    """

    data: bytes
    acts: list[int | str] = field(default_factory=list)
    location: str = ""
    ranges: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def opened(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            hub.ranges.append(wanted)
            act = hub.acts.pop(0) if hub.acts else ""
            if isinstance(act, int) and 300 <= act < 600:
                self._plain(act)
                return
            start = 0 if act == "no-ranges" or not wanted else int(wanted.removeprefix("bytes=").rstrip("-"))
            if start:
                shown = start + 1 if act == "odd-range" else start
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {shown}-{len(hub.data) - 1}/{len(hub.data)}")
            else:
                self.send_response(200)
            rest = hub.data[start:]
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if act == "silent":
                time.sleep(1)
                return
            self.wfile.write(rest[: act * 1024] if isinstance(act, int) else rest)
            self.close_connection = True

        def _plain(self, status: int) -> None:
            self.send_response(status)
            if hub.location:
                self.send_header("Location", hub.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}/file.gguf"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
