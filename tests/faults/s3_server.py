"""A bucket store on the loopback interface that answers as a test scripts it: real HTTP, real objects, real faults."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

BUCKET = "vault"
FOR_EVER = 1 << 30
MOMENT = "2026-01-02T03:04:05.000Z"


@dataclass(frozen=True, kw_only=True)
class Stored:
    data: bytes
    metadata: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data).hexdigest()}"'


@dataclass(frozen=True, kw_only=True)
class Request:
    operation: str
    """put, head, get, delete, list, start, part, complete, abort, parts, uploads, lifecycle."""
    path: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    """With names in lower case."""


@dataclass(kw_only=True)
class Fault:
    """What happens to requests for one operation, instead of or besides what they ask for."""

    operation: str
    times: int = FOR_EVER
    skip: int = 0
    """So many requests are served well before."""
    status: int = 0
    """Answered with this and `code` instead of being done."""
    code: str = ""
    body: bytes | None = None
    """Answered with this instead of an error's XML."""
    drop: str = ""
    """The connection breaks: `before` the request is done, `after` it (the answer is lost), or in its `body`;
    with `garbage`, what is below TLS goes bad instead where `cut` says."""
    cut: int | None = None
    """Of the answer's body, so many bytes are sent, then the connection breaks."""
    pause: threading.Event | None = None
    """Waited for between the two."""
    meanwhile: Callable[[], object] = lambda: None
    """Called when the fault strikes, before anything else."""


class S3Server:
    """Objects in memory. What is not scripted works as on AWS, as far as dbguard needs it."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.reset()
        self._http = _Http(("127.0.0.1", 0), self)
        if tls:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._http.server_address[1])
        self.endpoint = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def reset(self) -> None:
        """Empty, and without any fault."""
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, tuple[str, Stored, dict[int, bytes]]] = {}
        self.requests: list[Request] = []
        self.conditions: str | tuple[int, str, str] = "kept"
        """`kept`, `ignored`, or the status, code and message that refuse them."""
        self.takes_checksums = True
        self.honours_ranges = True
        self.honours_matches = True
        self.sizes: Callable[[int], int] = lambda size: size
        """What HEAD says of an object of this size."""
        self.page = 1000
        self.rate: float | None = None
        """Bytes of a request's body that are taken in a second, per connection."""
        self.gate = threading.Event()
        self.gate.set()
        """While it is not set, no body of a part is taken."""
        self.taken = 0
        """Bytes of all parts that have arrived whole."""
        self.lock = threading.RLock()
        self._faults: list[Fault] = []
        self._ids = itertools.count(1)

    @contextlib.contextmanager
    def running(self) -> Iterator[S3Server]:
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.gate.set()
            self._http.shutdown()
            thread.join()
            self._http.server_close()

    def fault(self, fault: Fault) -> None:
        self._faults.append(fault)

    def heal(self) -> None:
        self._faults.clear()

    def count(self, operation: str) -> int:
        return sum(request.operation == operation for request in self.requests)

    def strikes(self, request: Request) -> Fault | None:
        """The first fault that is due for it, used up by one. Every due fault counts its own requests."""
        with self.lock:
            self.requests.append(request)
            for fault in self._faults:
                if fault.operation not in {request.operation, "any"} or not fault.times:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def begin(self, key: str, draft: Stored) -> str:
        upload = f"upload-{next(self._ids)}"
        self.uploads[upload] = (key, draft, {})
        return upload


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], store: S3Server) -> None:
        self.store = store
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client may go whenever it likes."""


class _Broken(Exception):
    """The connection is to break now."""


class _Error(Exception):
    def __init__(self, status: int, code: str, message: str = "as scripted") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — as it is called above
        pass

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        query = {name: found[0] for name, found in parse_qs(parts.query, keep_blank_values=True).items()}
        path = unquote(parts.path).removeprefix("/")
        host = self.headers.get("host", "").partition(":")[0]
        bucket, _, key = path.partition("/") if not host.startswith(f"{BUCKET}.") else (BUCKET, "", path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._request = Request(
            operation=self._operation(key, query), path=parts.path, key=key, query=query, headers=headers
        )
        self._fault = self.server.store.strikes(self._request)
        try:
            self._act(bucket)
        except _Error as error:
            self._answer_error(error.status, error.code, error.message)
        except (_Broken, OSError):
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

    def _operation(self, key: str, query: dict[str, str]) -> str:
        if not key:
            return next((name for name in ("uploads", "lifecycle") if name in query), "list")
        if "uploadId" in query:
            return {"PUT": "part", "POST": "complete", "DELETE": "abort", "GET": "parts"}[self.command]
        return "start" if "uploads" in query else self.command.lower()

    def _act(self, bucket: str) -> None:
        store, fault = self.server.store, self._fault
        if fault:
            fault.meanwhile()
        if fault and fault.drop == "before":
            raise _Broken
        body = self._body()
        if fault and fault.body is not None:
            self._answer(fault.status or 200, fault.body)
            return
        if fault and fault.status:
            raise _Error(fault.status, fault.code)
        if bucket != BUCKET:
            raise _Error(404, "NoSuchBucket")
        if not store.takes_checksums and any("checksum" in name for name in self._request.headers):
            raise _Error(501, "NotImplemented", "A header you provided implies functionality that is not implemented.")
        getattr(self, f"_{self._request.operation}")(body)

    # --- bytes in and out ---

    def _body(self) -> bytes:
        store, rest, pieces = self.server.store, int(self.headers.get("content-length", 0)), []
        drop = self._fault.drop == "body" if self._fault else False
        while rest:
            if self._request.operation == "part":
                store.gate.wait()
            piece = self.rfile.read(min(rest, 1 << 16))
            if not piece or drop:
                raise _Broken
            if store.rate:
                time.sleep(len(piece) / store.rate)
            pieces.append(piece)
            rest -= len(piece)
        return b"".join(pieces)

    def _answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, size: int | None = None
    ) -> None:
        fault = self._fault
        if fault and fault.drop == "after":
            raise _Broken
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.cut is not None and fault.cut < len(body):
            self.wfile.write(body[: fault.cut])
            if fault.drop == "garbage":
                os.write(self.connection.fileno(), b"garbage" * 100)
            if fault.pause:
                fault.pause.wait()
            raise _Broken
        self.wfile.write(body)

    def _answer_xml(self, name: str, inside: str, status: int = 200) -> None:
        self._answer(status, f'<?xml version="1.0"?><{name}>{inside}</{name}>'.encode())

    def _answer_error(self, status: int, code: str, message: str) -> None:
        self._answer_xml("Error", f"<Code>{code}</Code><Message>{message}</Message>", status)

    # --- objects ---

    def _draft(self, data: bytes) -> Stored:
        headers, start = self._request.headers, "x-amz-meta-"
        metadata = {name.removeprefix(start): value for name, value in headers.items() if name.startswith(start)}
        return Stored(data=data, metadata=metadata, headers=headers)

    def _found(self) -> Stored:
        found = self.server.store.objects.get(self._request.key)
        if found is None:
            raise _Error(404, "NoSuchKey")
        wanted = self._request.headers.get("if-match")
        if wanted and wanted != found.etag and self.server.store.honours_matches:
            raise _Error(412, "PreconditionFailed")
        return found

    def _publish(self, stored: Stored) -> None:
        store = self.server.store
        with store.lock:
            if "if-none-match" in self._request.headers:
                if isinstance(store.conditions, tuple):
                    raise _Error(*store.conditions)
                if store.conditions == "kept" and self._request.key in store.objects:
                    raise _Error(412, "PreconditionFailed")
            store.objects[self._request.key] = stored

    def _put(self, body: bytes) -> None:
        stored = self._draft(body)
        self._publish(stored)
        self._answer(200, headers={"ETag": stored.etag})

    def _about(self, stored: Stored) -> dict[str, str]:
        words = {f"x-amz-meta-{name}": value for name, value in stored.metadata.items()}
        return {"ETag": stored.etag, "Last-Modified": formatdate(usegmt=True), **words}

    def _head(self, _: bytes) -> None:
        found = self._found()
        self._answer(200, headers=self._about(found), size=self.server.store.sizes(len(found.data)))

    def _get(self, _: bytes) -> None:
        found = self._found()
        start = re.fullmatch(r"bytes=(\d+)-", self._request.headers.get("range", ""))
        if start is None or not self.server.store.honours_ranges:
            self._answer(200, found.data, self._about(found))
            return
        at, size = int(start[1]), len(found.data)
        if at >= size:
            raise _Error(416, "InvalidRange")
        self._answer(206, found.data[at:], self._about(found) | {"Content-Range": f"bytes {at}-{size - 1}/{size}"})

    def _delete(self, _: bytes) -> None:
        self.server.store.objects.pop(self._request.key, None)
        self._answer(204)

    def _list(self, _: bytes) -> None:
        query, store = self._request.query, self.server.store
        prefix, delimiter, after = (query.get(n, "") for n in ("prefix", "delimiter", "continuation-token"))
        names: dict[str, Stored | None] = {}
        for key, stored in sorted(store.objects.items()):
            if key.startswith(prefix):
                head, cut, _rest = key.removeprefix(prefix).partition(delimiter or "\0")
                names[prefix + head + cut if cut else key] = None if cut else stored
        left = [name for name in names if name > after]
        inside = f"<Name>{BUCKET}</Name><IsTruncated>{str(len(left) > store.page).lower()}</IsTruncated>"
        if len(left) > store.page:
            inside += f"<NextContinuationToken>{left[store.page - 1]}</NextContinuationToken>"
        for name in left[: store.page]:
            inside += _listed(quote(name), names[name])
        self._answer_xml("ListBucketResult", inside)

    def _lifecycle(self, _: bytes) -> None:
        raise _Error(404, "NoSuchLifecycleConfiguration")

    # --- multipart ---

    def _upload(self) -> tuple[str, Stored, dict[int, bytes]]:
        found = self.server.store.uploads.get(self._request.query["uploadId"])
        if found is None:
            raise _Error(404, "NoSuchUpload")
        return found

    def _start(self, _: bytes) -> None:
        self._answer_xml(
            "InitiateMultipartUploadResult",
            f"<UploadId>{self.server.store.begin(self._request.key, self._draft(b''))}</UploadId>",
        )

    def _part(self, body: bytes) -> None:
        with self.server.store.lock:
            self._upload()[2][int(self._request.query["partNumber"])] = body
            self.server.store.taken += len(body)
        self._answer(200, headers={"ETag": Stored(data=body).etag})

    def _complete(self, body: bytes) -> None:
        _, draft, parts = self._upload()
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)<", body)]
        if numbers != sorted(set(numbers)) or not set(numbers) <= set(parts):
            raise _Error(400, "InvalidPart")
        data = b"".join(parts[number] for number in numbers)
        stored = Stored(data=data, metadata=draft.metadata, headers=draft.headers)
        self._publish(stored)
        self.server.store.uploads.pop(self._request.query["uploadId"], None)
        self._answer_xml("CompleteMultipartUploadResult", f"<ETag>{stored.etag}</ETag>")

    def _abort(self, _: bytes) -> None:
        self._upload()
        self.server.store.uploads.pop(self._request.query["uploadId"], None)
        self._answer(204)

    def _parts(self, _: bytes) -> None:
        numbers = "".join(f"<Part><PartNumber>{number}</PartNumber></Part>" for number in self._upload()[2])
        self._answer_xml("ListPartsResult", f"<IsTruncated>false</IsTruncated>{numbers}")

    def _uploads(self, _: bytes) -> None:
        inside = "".join(
            f"<Upload><Key>{key}</Key><UploadId>{upload}</UploadId><Initiated>{MOMENT}</Initiated></Upload>"
            for upload, (key, _draft, _parts) in self.server.store.uploads.items()
            if key.startswith(self._request.query.get("prefix", ""))
        )
        self._answer_xml(
            "ListMultipartUploadsResult", f"<Bucket>{BUCKET}</Bucket><IsTruncated>false</IsTruncated>{inside}"
        )


def _listed(name: str, stored: Stored | None) -> str:
    if stored is None:
        return f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"
    about = f"<Key>{name}</Key><LastModified>{MOMENT}</LastModified><ETag>{stored.etag}</ETag>"
    return f"<Contents>{about}<Size>{len(stored.data)}</Size></Contents>"
