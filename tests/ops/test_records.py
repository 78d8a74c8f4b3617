"""Proxies and workers are upgraded one after another: each reads the calls of the other's version."""

from __future__ import annotations

import msgspec
from support.records import KEY, record

from messagebroker.ops.records import Record, decode_call, encode_call


def test_a_call_of_a_proxy_that_knew_of_no_certificates_is_read() -> None:
    one = record(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    call = msgspec.msgpack.decode(encode_call([one], [KEY]))
    call[1] = [fields[:14] for fields in call[1]]
    assert decode_call(msgspec.msgpack.encode(call)).records == [one]
    assert one.certificate is None


def test_a_worker_of_the_version_before_reads_a_call_of_today() -> None:
    fields = [(name, Record.__annotations__[name]) for name in Record.__struct_fields__[:14]]
    before = msgspec.defstruct("Record", fields, namespace=vars(msgspec), array_like=True, module=Record.__module__)
    call = encode_call([record(certificate="4f" * 20)], [KEY])
    [read] = msgspec.convert(msgspec.msgpack.decode(call)[1], list[before])  # type: ignore[valid-type]
    assert read.client == "acme"


def test_the_certificate_travels() -> None:
    assert decode_call(encode_call([record(certificate="4f" * 20)], [KEY])).records[0].certificate == "4f" * 20
