"""Request bodies with a size limit, rejected as soon as they exceed it."""

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
    """Return the OpenAPI description of a body of files.

    Args:
        one_file_alone: the body may also be the bytes of a single file instead of multipart.
    """
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    content: dict[str, Any] = {
        "multipart/form-data": {"schema": {"type": "object", "properties": {"files": files}}}
    }
    if one_file_alone:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": content}}


async def files_of(request: Request, name: str, most_bytes: int) -> list[tuple[str, bytes]]:
    """Return the names and contents of the files of a multipart body.

    Any other body is returned as a single file called ``name``.

    Raises:
        Problem: 413 if the body exceeds ``most_bytes``, even if its header states less; 400 if it
            is not a valid multipart body.
    """
    _check_length(request, most_bytes)
    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        return [(name, await body_of(request, most_bytes))]
    header = Message()
    header["content-type"] = content_type
    if not header.get_param("boundary"):
        raise Problem(400, "the multipart body has no boundary in its Content-Type")
    left = most_bytes

    async def receive_limited():  # type: ignore[no-untyped-def]
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise _too_large(most_bytes)
        return message

    receive, request._receive = request._receive, receive_limited
    try:
        form = await request.form(max_files=MAX_FILES, max_fields=4)
    except (MultiPartException, MultipartParseError) as error:
        raise Problem(400, f"invalid multipart body: {error}") from error
    try:
        return [
            (part.filename or "", await part.read())
            for _, part in form.multi_items()
            if isinstance(part, UploadFile)
        ]
    finally:
        await form.close()


async def body_of(request: Request, most_bytes: int) -> bytes:
    """Return the body.

    Raises:
        Problem: 413 if the body exceeds ``most_bytes``.
    """
    _check_length(request, most_bytes)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most_bytes:
            raise _too_large(most_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _check_length(request: Request, most_bytes: int) -> None:
    length = request.headers.get("content-length", "0")
    if not length.isdigit():
        raise Problem(400, "Content-Length is not a number")
    if int(length) > most_bytes:
        raise Problem(
            413, f"the body of {int(length):,} bytes exceeds the limit of {most_bytes >> 20} MB"
        )


def _too_large(max_bytes: int) -> Problem:
    return Problem(413, f"the body exceeds the limit of {max_bytes >> 20} MB")
