from __future__ import annotations

import falcon
import msgspec
import pytest
from falcon import testing

from messagebroker.http.main.etags import etag_of, require_match
from messagebroker.http.problems import Problem


class View(msgspec.Struct):
    name: str
    size: int = 1


def request(if_match: str | None) -> falcon.Request:
    return falcon.Request(testing.create_environ(headers={} if if_match is None else {"If-Match": if_match}))


def test_a_tag_is_of_what_is_shown() -> None:
    assert etag_of(View("a")) == etag_of(View("a"))
    assert etag_of(View("a")) != etag_of(View("a", 2))
    assert etag_of(View("a")).startswith('"')


@pytest.mark.parametrize("given", [None, "*", etag_of(View("a")), f'"other", {etag_of(View("a"))}'])
def test_who_saw_it_may_change_it(given: str | None) -> None:
    require_match(request(given), View("a"))


@pytest.mark.parametrize("given", ['"other"', "", "W/" + etag_of(View("a")), etag_of(View("b")), etag_of(View("a")).strip('"')])
def test_who_saw_something_else_may_not(given: str) -> None:
    with pytest.raises(Problem) as refused:
        require_match(request(given), View("a"))
    assert (refused.value.status_code, refused.value.name) == (412, "changed-meanwhile")
