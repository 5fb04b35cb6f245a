"""A real local HTTP server that answers as a completions server does, or misbehaves on demand."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = tuple[int, bytes]


def answer(**changes: object) -> dict:
    choice = {
        "text": "4\n",
        "token_ids": [7, 8],
        "finish_reason": "stop",
        "logprobs": {"token_logprobs": [-0.5, -0.25]},
    } | changes
    usage = {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
    return {"choices": [choice], "usage": usage}


def ok(content: object) -> Reply:
    return 200, json.dumps(content).encode()


class Server:
    """Answers POSTs with `reply(body)`; None drops the connection. GETs of /metrics and of all else are fixed."""

    def __init__(self, reply: Callable[[dict], Reply | None], models: Reply, port: int = 0) -> None:
        self.metrics: Reply = (404, b"")
        self.is_closed = False
        self.bodies: list[dict] = []
        self.headers: list[dict] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send(server.metrics if self.path == "/metrics" else models)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if server.is_closed:  # a connection that was kept alive
                    self.close_connection = True
                    return
                server.bodies.append(body)
                server.headers.append(dict(self.headers))
                replied = reply(body)
                if replied is None or server.is_closed:
                    self.close_connection = True
                else:
                    self.send(replied)

            def send(self, replied: Reply) -> None:
                self.send_response(replied[0])
                self.send_header("Content-Length", str(len(replied[1])))
                self.end_headers()
                self.wfile.write(replied[1])

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.is_closed = True
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def serving(reply: Callable[[dict], Reply | None], models: Reply = (404, b""), port: int = 0) -> Iterator[Server]:
    server = Server(reply, models, port)
    try:
        yield server
    finally:
        server.close()
