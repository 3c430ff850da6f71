"""Between a client and the server on a unix socket: can lose an answer, or all that follows."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from pathlib import Path

_NAME = ".s.PGSQL.5432"


class CuttingProxy:
    """Clients connect to the socket in `folder` as they would to the server's own."""

    def __init__(self, server: Path, folder: Path) -> None:
        self._server = str(server / _NAME)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _NAME))
        self._listener.listen()
        self.answers_to_lose = 0
        """So many of the next answers do not arrive; with each one the connection breaks."""
        self.refusing = False
        """Whether nobody is let in, as if the server were away."""
        self._refuse_after_loss = False
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_next_answer(self, *, then_away: bool) -> None:
        self._refuse_after_loss = then_away
        self.answers_to_lose = 1

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refusing:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, contextlib.suppress(OSError):
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for source, sink in ((client, server), (server, client)):
                    if source not in ready:
                        continue
                    data = source.recv(65_536)
                    if not data:
                        return
                    if source is server and self.answers_to_lose:
                        self.answers_to_lose -= 1
                        self.refusing = self.refusing or self._refuse_after_loss
                        return
                    sink.sendall(data)
