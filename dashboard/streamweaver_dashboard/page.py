"""The page: files that were built into the package, or a word on how to build them."""

import hashlib
import mimetypes
from pathlib import Path

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamweaver_dashboard.access import RefusedError
from streamweaver_dashboard.answer import Answering

STATIC = Path(__file__).parent / "static"

MISSING = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>StreamWeaver dashboard</title></head>
<body><main><h1>The page is not built</h1>
<p>The dashboard's server runs, but this installation has no page. In a checkout of the sources, run</p>
<pre>make page</pre>
<p>and reload. Installed packages bring the page along. What the page shows is also at
<a href="/api/pipeline">/api/pipeline</a>.</p></main></body></html>
"""


@attrs.frozen
class File:
    """One file of the page, ready to be sent."""

    body: bytes
    gzipped: bytes | None
    kind: str
    tag: str


def load(folder: Path = STATIC) -> dict[str, File]:
    """Read the page's files into memory (it is small); empty when it is not built."""
    if not (folder / "index.html").is_file():
        return {}
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".gz":
            packed = path.with_name(path.name + ".gz")
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            if kind.startswith("text/") or kind in ("application/javascript", "application/json"):
                kind += "; charset=utf-8"
            body = path.read_bytes()
            name = "/" + path.relative_to(folder).as_posix()
            files[name] = File(body, packed.read_bytes() if packed.is_file() else None, kind, _tag(body))
    return files


def _tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:20]}"'


class Page:
    """Serves the page's files: everything that has no other answer."""

    def __init__(self) -> None:
        self._files = load()

    def routes(self, answer: Answering) -> list[Route]:
        """Return what is answered here; it comes last."""
        return [Route("/{path:path}", answer(self.file))]

    async def file(self, request: Request) -> Response:
        """Serve the page's files."""
        path = request.url.path
        if not self._files and path == "/":
            return Response(MISSING, media_type="text/html")
        found = self._files.get("/index.html" if path == "/" else path)
        if found is None:
            raise RefusedError(404, "unknown_path", f"there is nothing at {path[:200]}")
        headers = {"etag": found.tag, "vary": "accept-encoding"}
        hashed = path.startswith("/assets/")
        headers["cache-control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=304, headers=headers)
        body = found.body
        if found.gzipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["content-encoding"] = found.gzipped, "gzip"
        return Response(body, headers={**headers, "content-type": found.kind})
