"""From the wire to a typed value and back, with a problem that names the field at fault."""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

import falcon
import msgspec

from messagebroker.http.problems import Problem
from messagebroker.ops.validation import explain

T = TypeVar("T")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")


def read_json(request: falcon.Request, decoder: msgspec.json.Decoder[T], *, limit: int = 64 * 1024) -> T:
    """The request's JSON body as the decoder's type.

    Raises:
        Problem: 415 for another content type, 413 over `limit` bytes, 400 `invalid-json`, 422 `invalid-field`.
    """
    media = (request.content_type or "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Problem(415, "unsupported-media-type", "send application/json", field="Content-Type")
    if (request.content_length or 0) > limit:
        raise Problem(413, "too-large", f"the body may have up to {limit} bytes here")
    body = request.bounded_stream.read(limit + 1)
    if len(body) > limit:
        raise Problem(413, "too-large", f"the body may have up to {limit} bytes here")
    return decode_json(body, decoder)


def decode_json(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Bytes as the decoder's type; raises Problem as `read_json` does."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "invalid-json", f"the body is not JSON in UTF-8: {error}") from None


def invalid_field(error: msgspec.ValidationError) -> Problem:
    """The 422 for a value that msgspec refused, with the path of its field."""
    detail, field = explain(error)
    return Problem(422, "invalid-field", detail, field=field)


def read_query(request: falcon.Request, kind: type[T]) -> T:
    """The query string as a struct: unknown, repeated and ill-typed parameters are a 400 that names them."""
    scalars = _scalars(cast(Hashable, kind))
    for name, value in request.params.items():
        if not (name + "".join(value)).isprintable():  # a pattern's `$` would let a line end pass
            raise Problem(400, "invalid-parameter", "a control character is in the query string", field=name)
    values = {name: _scalar(value, scalars.get(name)) for name, value in request.params.items()}
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        detail, field = explain(error)
        raise Problem(400, "invalid-parameter", detail, field=field) from None


def _scalar(value: str | list[str], scalar: type | None) -> Any:
    """Query strings know no types: `5` is a number only where one is asked for, `true` likewise."""
    if not isinstance(value, str):
        return value
    if scalar is int and _INTEGER.fullmatch(value):
        return int(value)
    if scalar is bool and value in ("true", "false"):
        return value == "true"
    return value


@cache
def _scalars(kind: Any) -> dict[str, type]:
    found: dict[str, type] = {}
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        options = field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else (field.type,)
        for option in options:
            if isinstance(option, msgspec.inspect.IntType):
                found[field.encode_name] = int
            elif isinstance(option, msgspec.inspect.BoolType):
                found[field.encode_name] = bool
    return found


_encoder = msgspec.json.Encoder()


def answer(response: falcon.Response, value: Any, *, status: int = 200) -> None:
    """Writes a struct as JSON. Answers are about one caller's data, so that no cache may keep them."""
    response.status = status
    response.content_type = "application/json"
    response.set_header("Cache-Control", "no-store")
    response.data = _encoder.encode(value)
