"""Request bodies under a cap: read as they come, refused as soon as they are too large."""

from __future__ import annotations

from email.message import Message
from typing import Any

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from bagscan.service.http.problems import Problem
from bagscan.service.inference.intake import MAX_FILES


def files_body(one_file_alone: bool = False) -> dict[str, Any]:
    """How a body of files is described in OpenAPI: multipart, or also one file's bytes alone."""
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    content: dict[str, Any] = {
        "multipart/form-data": {"schema": {"type": "object", "properties": {"files": files}}}
    }
    if one_file_alone:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": content}}


async def files_of(request: Request, name: str, most_bytes: int) -> list[tuple[str, bytes]]:
    """The files of a multipart body, or the body itself as one file called ``name``.

    Raises:
        Problem: 413 over the cap, whatever the header says; 400 for a body that is not what it claims to be.
    """
    _check_length(request, most_bytes)
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return [(name, await body_of(request, most_bytes))]
    result = Message()
    result["content-type"] = kind
    if not result.get_param("boundary"):
        raise Problem(400, "a multipart body needs a boundary")
    left = most_bytes

    async def capped():  # type: ignore[no-untyped-def]
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise Problem(413, f"more than {most_bytes >> 20} MB")
        return message

    receive, request._receive = request._receive, capped
    try:
        form = await request.form(max_files=MAX_FILES, max_fields=4)
    except (MultiPartException, MultipartParseError) as error:
        raise Problem(400, f"not a multipart body: {error}") from error
    try:
        return [
            (part.filename or "", await part.read())
            for _, part in form.multi_items()
            if isinstance(part, UploadFile)
        ]
    finally:
        await form.close()


async def body_of(request: Request, most_bytes: int) -> bytes:
    """The whole body.

    Raises:
        Problem: 413 over the cap.
    """
    _check_length(request, most_bytes)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most_bytes:
            raise Problem(413, f"more than {most_bytes >> 20} MB")
        chunks.append(chunk)
    return b"".join(chunks)


def _check_length(request: Request, most_bytes: int) -> None:
    length = request.headers.get("content-length", "0")
    if not length.isdigit():
        raise Problem(400, "Content-Length is not a number")
    if int(length) > most_bytes:
        raise Problem(413, f"{int(length):,} bytes, more than the {most_bytes >> 20} MB allowed")
