"""Where destinations may be: whatever a URL or a resolver says, only public hosts are called."""

import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor.addresses import place, public
from candor.ports import Unavailable
from candor.stores import https

URL = "https://mail.example.com/erasures"
INSIDE = [
    # IPv4: this network, private, shared, loopback, link-local with the metadata service, protocol
    # assignments, documentation, benchmarks, relays, multicast, reserved, broadcast.
    *("0.1.2.3", "0.255.255.255", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255"),
    *("127.0.0.1", "127.1.2.3", "127.255.255.255", "169.254.169.254", "169.254.170.2"),
    *("169.254.0.1", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1"),
    *("192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "224.0.1.1", "239.255.255.250", "240.0.0.1"),
    "255.255.255.255",
    # IPv6: unspecified, loopback, mapped, compatible, translated, discard, Teredo, ORCHID,
    # documentation, 6to4, unique local with the metadata service, link-local, site-local, more.
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:7f00:1", "::ffff:169.254.169.254"),
    *("0:0:0:0:0:ffff:a00:1", "::127.0.0.1", "::8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8"),
    *("64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1"),
    *("2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "fc00::1"),
    *("fd00:ec2::254", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fe80::1%1", "febf::1"),
    *("fec0::1", "ff02::1", "ff0e::1", "2606:4700::1%eth0", "4000::1", "e000::1"),
]
OUTSIDE = ["8.8.8.8", "1.1.1.1", "93.184.215.14", "100.63.255.255", "100.128.0.1", "172.15.0.1"]
OUTSIDE += ["172.32.0.1", "223.255.255.254", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e"]
NUMBERS = [
    *(
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
    ),
    *("127.0.0.1.", "0", "0.0.0", "[::1]", "[::ffff:127.0.0.1]", "[::]", "8.8.8.8", "0x8080808"),
    *("[fe80::1%25eth0]", "[fd00:ec2::254]", "169.254.169.254", "2852039166", "0xa9fea9fe"),
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_is_not_everybodys_is_refused(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_taken(address: str) -> None:
    assert public(address)


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_is_public_within_ipv6(address: Any) -> None:
    for form in (f"::ffff:{address}", f"::{address}", f"64:ff9b::{address}"):
        assert not public(form)


@given(st.text())
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not public(f"x{text}")


@pytest.mark.parametrize(
    "host", [*NUMBERS, "localhost", "localhost.", "metadata", "a..example.com"]
)
def test_a_host_is_named_by_its_full_name_and_never_by_a_number(host: str) -> None:
    with pytest.raises(ValueError, match=r"full name|port"):
        place(f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://mail.example.com/",
            "ftp://mail.example.com/",
            "//mail.example.com/",
            "",
            "https:",
        ),
        *("https://user@mail.example.com/", "https://u:p@mail.example.com/", "https:///erasures"),
        *("https://mail.example.com\\@127.0.0.1/", "https://127.0.0.1\\.example.com/"),
        *("https://mail.example.com/#part", "https://mail.example.com:99999/", "https://:443/"),
        *(
            "https://mail.example.com:port/",
            "https://mail.exa mple.com/",
            "https://mail.example.com/\n",
        ),
        *("https://mail。example。com/", "https://ⓔxample.com/", "https://mail.example.com/ä"),
        *("https://-mail.example.com/", "https://mail_.example.com/", f"{URL}{'x' * 1024}"),
        *("https://mail.example.1/", "https://mail.example.0x7f/", "https://%31%32%37.0.0.1/"),
    ],
)
def test_what_is_no_plain_https_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^it|^its"):
        place(url)


def test_a_url_is_taken_apart() -> None:
    assert place(URL) == ("https", "mail.example.com", 443, "/erasures")
    assert place("https://API.Example.COM:8443?a=b") == (
        *("https", "api.example.com", 8443, "/?a=b"),
    )


@pytest.mark.parametrize("url", ["http://127.0.0.1:80@10.0.0.1/", "http://localhost/", URL])
def test_on_an_emulator_only_loopback_is_called(url: str) -> None:
    with pytest.raises(ValueError, match="it should"):
        place(url, loopback=True)


# Calls


def resolving(*addresses: str) -> Callable[..., list[Any]]:
    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        assert (host, port) == ("mail.example.com", 443)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    return resolve


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The addresses that were connected to, where nobody is."""
    found: list[Any] = []

    def connect(address: Any, *_: Any, **__: Any) -> socket.socket:
        found.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    return found


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_that_leads_inside_is_not_called(called: list[Any], address: str) -> None:
    for addresses in ((address,), ("8.8.8.8", address), (address, "8.8.8.8")):
        with pytest.raises(Unavailable, match="public addresses alone"):
            https.post(URL, b"{}", resolve=resolving(*addresses))
    assert called == []


def test_a_name_that_leads_nowhere_is_not_called(called: list[Any]) -> None:
    with pytest.raises(Unavailable):
        https.post(URL, b"{}", resolve=resolving())

    def fails(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror

    with pytest.raises(Unavailable, match="gaierror"):
        https.post(URL, b"{}", resolve=fails)
    assert called == []


def test_the_address_that_was_judged_is_the_one_that_is_called(called: list[Any]) -> None:
    """A name that leads elsewhere a moment later is not looked up again."""
    answers = [resolving("127.0.0.1"), resolving("8.8.8.8")]

    def rebound(*asked: Any, **more: Any) -> list[Any]:
        return answers.pop()(*asked, **more)

    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        https.post(URL, b"{}", resolve=rebound)
    assert len(answers) == 1
    assert called == [("8.8.8.8", 443)]


@pytest.mark.parametrize("url", ["http://mail.example.com/", "http://127.0.0.1:1/", "file:///etc"])
def test_no_other_url_is_called_even_if_the_policy_had_one(called: list[Any], url: str) -> None:
    with pytest.raises(Unavailable, match="may not be called"):
        https.post(url, b"{}")
    assert called == []


def test_the_certificate_has_to_be_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Context:
        verify_mode, check_hostname = ssl.CERT_REQUIRED, True

        def wrap_socket(self, plain: Any, server_hostname: str) -> Any:
            asked.append((plain, server_hostname))
            raise ssl.SSLCertVerificationError

    class Plain:
        closed = False

        def close(self) -> None:
            self.closed = True

    plain = Plain()
    assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED
    monkeypatch.setattr(ssl, "create_default_context", Context)
    monkeypatch.setattr(socket, "create_connection", lambda *_: plain)
    with pytest.raises(Unavailable, match="SSLCertVerificationError"):
        https.post(URL, b"{}", resolve=resolving("8.8.8.8"))
    assert asked == [(plain, "mail.example.com")]
    assert plain.closed


@contextmanager
def answering(status: int, location: str = "") -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    got: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, body))
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(2**40))  # of which nothing comes
            self.end_headers()

        def do_GET(self) -> None:
            got.append(("a redirect that was followed", b""))

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/here?a=b", got
    finally:
        server.shutdown()
        server.server_close()


def test_a_post_is_taken_by_its_status_and_nothing_more_of_the_answer_is_read() -> None:
    with answering(202) as (url, got):
        https.post(url, b'{"a":1}', loopback=True)
    assert got == [("/here?a=b", b'{"a":1}')]


@pytest.mark.parametrize("status", [199, 301, 302, 307, 308, 400, 500])
def test_no_redirect_is_followed_and_no_other_status_is_a_yes(status: int) -> None:
    refused = pytest.raises(Unavailable, match=f"it answered {status}")
    with answering(status, "/there") as (url, got), refused:
        https.post(url, b"{}", loopback=True)
    assert got == [("/here?a=b", b"{}")]


def test_what_speaks_no_http_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise http.client.BadStatusLine("secret words")

    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", fails)
    with answering(200) as (url, _), pytest.raises(Unavailable) as told:
        https.post(url, b"{}", loopback=True)
    assert str(told.value) == "BadStatusLine"
