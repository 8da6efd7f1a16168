"""Calls of other systems over HTTPS: to a public address alone, and to the one that was judged."""

import http.client
import socket
import ssl
from collections.abc import Callable
from typing import Any

from candor.addresses import Place, place, public
from candor.ports import Unavailable

TIMEOUT_SECONDS = 10
"""To connect, and for each part of the answer."""
Resolve = Callable[..., list[Any]]


def post(
    url: str, body: bytes, *, loopback: bool = False, resolve: Resolve = socket.getaddrinfo
) -> None:
    """Post JSON. Raises Unavailable, which says why, unless a status of 200 to 299 is answered.

    No redirect is followed and nothing of the answer is read but its head. `loopback` is for
    emulators: see `candor.addresses.place`.
    """
    try:
        there = place(url, loopback=loopback)
    except ValueError:
        raise Unavailable("its address may not be called") from None
    try:
        connection = _connection(there, resolve)
        try:
            connection.request("POST", there.path, body, {"Content-Type": "application/json"})
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise Unavailable(type(error).__name__) from None
    if not 200 <= status < 300:
        raise Unavailable(f"it answered {status}")


def _connection(there: Place, resolve: Resolve) -> http.client.HTTPConnection:
    if there.scheme == "http":
        return http.client.HTTPConnection(there.host, there.port, timeout=TIMEOUT_SECONDS)
    found = resolve(there.host, there.port, type=socket.SOCK_STREAM)
    addresses = [address[0] for *_, address in found]
    if not addresses or not all(map(public, addresses)):
        raise Unavailable("its name does not lead to public addresses alone")
    return _Pinned(there.host, there.port, addresses[0])


class _Pinned(http.client.HTTPSConnection):
    """To this address and no other: the name is not looked up again, but the certificate is its."""

    def __init__(self, host: str, port: int, address: str) -> None:
        self._address, self._tls = address, ssl.create_default_context()
        super().__init__(host, port, timeout=TIMEOUT_SECONDS, context=self._tls)

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise
