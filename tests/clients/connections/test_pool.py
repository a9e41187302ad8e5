"""Connections to endpoints, over real sockets."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from routemoa.clients.connections import loop_connections
from routemoa.clients.connections import pool as pools
from routemoa.clients.connections.pool import ConnectionPool, NotConnected
from routemoa.clients.connections.response import READ_BUFFER, HttpResponse, MalformedResponse

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def listening(handle: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    running: list[asyncio.Task[None] | None] = []

    async def handle_until_it_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, OSError):
            await handle(reader, writer)
        writer.close()

    async with await asyncio.start_server(handle_until_it_ends, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*filter(None, running))


@asynccontextmanager
async def answering(*replies: bytes, ends: bool = False) -> AsyncIterator[tuple[ConnectionPool, str, list[bytes]]]:
    """Serve replies in turn, then the last one again; give the heads that were read, the first of each connection."""
    left, heads = list(replies), []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(100):
            head = await reader.readuntil(b"\r\n\r\n")
            heads.extend([] if number else [head])
            if size := re.search(rb"Content-Length: (\d+)", head):
                await reader.readexactly(int(size[1]))
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            if ends:
                break

    connections = ConnectionPool(header_bytes=1024)
    async with listening(handle) as port:
        yield connections, f"http://127.0.0.1:{port}/v1/models?a=b", heads
        await connections.close()


async def ask(connections: ConnectionPool, url: str, body: bytes | None = None, wait: float = 5.0) -> HttpResponse:
    return await connections.send("POST", url, {"X-Own": "1"}, body, connect=5.0, wait=wait)


async def read_all(response: HttpResponse) -> bytes:
    data = b""
    try:
        while piece := await response.read(1000):
            data += piece
    finally:
        response.leave()
    return data


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with answering(OK) as (connections, url, heads):
        for _ in range(3):
            assert await read_all(await ask(connections, url)) == b"ok"
    assert len(heads) == 1
    assert heads[0].startswith(b"POST /v1/models?a=b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Own: 1\r\n" in heads[0]


@pytest.mark.parametrize(
    ("first", "ends"),
    [
        (OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), False),
        (OK + b"HTTP/1.1 200 OK\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\nok", True),
        (OK, True),
    ],
    ids=["it says so", "more than was asked for", "the end of the body", "closed while it was idle"],
)
async def test_a_connection_that_cannot_be_used_again_is_not(first: bytes, ends: bool) -> None:
    async with answering(first, ends=ends) as (connections, url, heads):
        for _ in range(2):
            assert await read_all(await ask(connections, url)) == b"ok"
            await asyncio.sleep(0.01)  # in which what the other side has closed is noticed
    assert len(heads) == 2


async def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_connections, "KEEP_ALIVE_SECONDS", 0.02)
    closed = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()
        closed.set()

    async with listening(handle) as port:
        connections = ConnectionPool()
        await read_all(await ask(connections, f"http://127.0.0.1:{port}/"))
        await asyncio.wait_for(closed.wait(), 5)
        await connections.close()


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000, b"x" * 200_000),
    ],
    ids=["interim", "chunked, with a trailer", "empty", "larger than what is read ahead"],
)
async def test_bodies(reply: bytes, body: bytes) -> None:
    async with answering(reply) as (connections, url, heads):
        for _ in range(2):
            response = await ask(connections, url, b"{}" * READ_BUFFER * 2)
            assert await read_all(response) == body
    assert "link" not in response.headers
    assert "x-late" not in response.headers
    assert len(heads) == 1 or len(body) > 1000


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", MalformedResponse),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000 + b"\r\n\r\n", MalformedResponse),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000, MalformedResponse),
        (b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(300)) + b"\r\n", MalformedResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n", MalformedResponse),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 600_000, MalformedResponse),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", MalformedResponse),
        (OK.replace(b"200", b"000"), MalformedResponse),
        (b"HTTP/1.1 200", ConnectionError),
        (b"", ConnectionError),
    ],
)
async def test_what_is_no_response_is_an_error(reply: bytes, error: type[Exception]) -> None:
    async with answering(reply, ends=True) as (connections, url, _):
        with pytest.raises(error):
            await read_all(await ask(connections, url))


@asynccontextmanager
async def accepting() -> AsyncIterator[tuple[ConnectionPool, str, Callable[[bytes], Awaitable[socket.socket]]]]:
    """Listen; give what takes a connection, reads a request of it and answers."""
    loop, taken, connections = asyncio.get_running_loop(), [], ConnectionPool()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)

        async def take(reply: bytes) -> socket.socket:
            taken.append((await loop.sock_accept(listener))[0])
            assert await loop.sock_recv(taken[-1], 4096)
            await loop.sock_sendall(taken[-1], reply)
            return taken[-1]

        yield connections, f"http://127.0.0.1:{listener.getsockname()[1]}/", take
        await connections.close()
    for sock in taken:
        sock.close()


@pytest.mark.parametrize("between", [OK.replace(b"ok", b"no"), b""], ids=["unasked for", "the end"])
async def test_what_comes_just_before_the_next_request_is_no_answer_to_it(between: bytes) -> None:
    async with accepting() as (connections, url, take):
        first, peer = await asyncio.gather(ask(connections, url), take(OK))
        assert await read_all(first) == b"ok"
        if between:
            peer.send(between)
        else:
            peer.shutdown(socket.SHUT_WR)
        second, _ = await asyncio.gather(ask(connections, url), take(OK))
        assert await read_all(second) == b"ok"


async def test_a_kept_connection_that_closes_without_an_answer_is_lost() -> None:
    async with accepting() as (connections, url, take):
        first, peer = await asyncio.gather(ask(connections, url), take(b"HTTP/1.1 204 No Content\r\n\r\n"))
        assert await read_all(first) == b""
        second = asyncio.create_task(ask(connections, url))
        await asyncio.get_running_loop().sock_recv(peer, 4096)
        peer.close()
        with pytest.raises(ConnectionResetError):
            await second


async def test_an_answer_while_the_request_is_still_being_sent() -> None:
    reply = b"HTTP/1.1 413 Content Too Large\r\n\r\nno"
    async with accepting() as (connections, url, take):
        response, peer = await asyncio.gather(ask(connections, url, b"x" * 20_000_000), take(reply))
        peer.shutdown(socket.SHUT_WR)
        assert (response.status, await read_all(response)) == (413, b"no")


class Unread:
    """A connection that nothing more comes from."""

    def resume(self) -> None: ...

    def leave(self, response: HttpResponse) -> None: ...


async def test_small_pieces_that_came_together_are_read_together() -> None:
    response = HttpResponse(Unread(), asyncio.get_running_loop())
    for piece in (b"a", b"b", b"c" * 5, b"d"):
        response.feed(piece)
    response.end()
    assert [await response.read(4) for _ in range(4)] == [b"ab", b"cccc", b"cd", b""]


async def test_loops_at_the_same_time_have_their_own_connections() -> None:
    async with answering(OK) as (connections, url, heads):

        async def ask_twice() -> list[bytes]:
            return [await read_all(await ask(connections, url)) for _ in range(2)]

        open_here = await ask(connections, url)
        assert await asyncio.to_thread(asyncio.run, ask_twice()) == [b"ok"] * 2
        assert await read_all(open_here) == b"ok"
        assert await ask_twice() == [b"ok"] * 2
        assert len(heads) == 2


async def test_a_silent_endpoint_costs_the_wait_and_no_more() -> None:
    async with answering(b"HTTP/1.1 100 Continue\r\n\r\n") as (connections, url, _):
        with pytest.raises(TimeoutError):
            await ask(connections, url, wait=0.05)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1", "http:///v1", "http://127.0.0.1:x/"])
async def test_a_url_that_leads_nowhere(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        await ask(ConnectionPool(), url)


async def test_a_header_carries_no_other() -> None:
    with pytest.raises(ValueError, match="'X-A' is not valid"):
        await ConnectionPool().send("GET", "http://a/", {"X-A": "1\r\nX-B: 2"}, None, connect=1, wait=1)


# --- TLS and proxies


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and the certificate of models.test."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    name = ["-subj", "/CN=models.test", "-addext", "subjectAltName=DNS:models.test"]
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *name]
    subprocess.run([*make, "-keyout", file, "-out", file.with_suffix(".crt")], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + file.with_suffix(".crt").read_bytes())
    return file


@asynccontextmanager
async def tunnelling(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[bytes]]:
    """Serve https://models.test behind a proxy that wants a name and a password; give what the proxy was asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof() and await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)

    async with listening(serve, context) as port:

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            if b"\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n" not in asked[-1]:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            there = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))

        async with listening(pass_on) as proxy:
            monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{proxy}")
            yield asked


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_tls_through_a_proxy(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusting = ssl.create_default_context(cafile=certificate.with_suffix(".crt"))
    async with tunnelling(certificate, monkeypatch) as asked:
        connections = ConnectionPool()
        with pytest.raises(NotConnected) as refused:
            await ask(connections, "https://models.test/v1")
        assert isinstance(refused.value.why, ssl.SSLCertVerificationError)
        monkeypatch.setattr(pools, "_tls_context", lambda: trusting)
        for _ in range(2):
            assert await read_all(await ask(connections, "https://models.test/v1")) == b"ok"
        assert [head.partition(b"\r\n")[0] for head in asked] == [b"CONNECT models.test:443 HTTP/1.1"] * 2
        monkeypatch.setenv("https_proxy", os.environ["https_proxy"].replace("me:secret@", ""))
        with pytest.raises(NotConnected, match=r"the proxy .* refused: HTTP 407"):
            await ask(connections, "https://models.test/v1")
        await connections.close()


async def test_a_handshake_that_is_given_up_leaves_nothing(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await reader.read()

    async with listening(be_silent) as proxy:
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy}")
        connections = ConnectionPool()
        with pytest.raises(NotConnected) as refused:
            await connections.send("GET", "https://models.test/v1", {}, None, connect=0.05, wait=5)
        assert isinstance(refused.value.why, TimeoutError)
        await asyncio.wait_for(connections.close(), 5)


async def test_a_proxy_that_is_not_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://me:secret@127.0.0.1:1")
    with pytest.raises(ValueError, match=r"^the proxy of the environment: socks5: only http:// and https:// are"):
        await ask(ConnectionPool(), "http://models.test/v1")
