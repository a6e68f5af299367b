"""Requests to web servers: what is retried and for how long, what is a refusal, and JSON answers."""

from __future__ import annotations

import json
import logging
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, MaxRetryError

from scfm.errors import ScfmError
from scfm.io.addresses import check_url, pool_manager

log = logging.getLogger(__name__)
#: urllib3 logs what it does about a failed connection; :class:`Retries` does so for error statuses, too
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

AGENT = "scfmbench"
#: answers after which the same question may get another answer
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
#: redirects that are followed for one request
_MAX_REDIRECTS = 10

#: bytes of a JSON answer at most
MAX_JSON = 200_000_000

Result = TypeVar("Result")


class Retries(urllib3.Retry):
    """urllib3's count of attempts and pauses; a pause is logged."""

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        """Log why the request is sent again, and wait."""
        last = self.history[-1]
        log.warning("%s: %s; asking again", last.url, _reason(last.error) if last.error else f"status {last.status}")
        super().sleep(response)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How a broken download is retried.

    Attributes
    ----------
    tries
        Attempts in a row that bring no new byte, before giving up.
    pause
        Seconds before the third attempt, doubled for each further one; the second follows at once. ``Retry-After`` of
        a server replaces it.
    longest
        Longest pause, in seconds, whoever asks for it.
    timeout
        Seconds without an answer.
    max_bytes
        Largest file that is downloaded.
    allow_http
        Whether addresses without encryption are taken; loopback addresses always are.
    """

    tries: int = 6
    pause: float = 2.0
    longest: float = 120.0
    timeout: float = 60.0
    max_bytes: int = 2_000_000_000_000
    allow_http: bool = False

    def retries(self) -> Retries:
        """Return a fresh count of attempts."""
        return Retries(
            total=self.tries - 1,
            status_forcelist=_PASSING,
            raise_on_status=False,
            backoff_factor=self.pause / 2,  # urllib3 waits for twice the factor before the third attempt
            backoff_max=self.longest,
            retry_after_max=int(self.longest),
        )


class TransientError(Exception):
    """An answer that breaks the protocol and may be right the next time."""


class RefusedError(ScfmError):
    """A server's answer that will be the same the next time.

    Attributes
    ----------
    code
        HTTP status.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def ask(
    url: str,
    policy: RetryPolicy,
    receive: Callable[[BaseHTTPResponse], Result],
    *,
    give_up: Callable[[str], str],
    headers: Callable[[], Mapping[str, str]] = dict,
    progress: Callable[[], int] = lambda: 0,
) -> Result:
    """Return what ``receive`` makes of an answer.

    Failed connections and passing error statuses are retried by urllib3. A body that breaks off is another failed
    attempt of the same count, unless it brought new bytes: then the count starts anew.

    Parameters
    ----------
    url
        The address; it has passed :func:`~scfm.io.addresses.check_url`.
    policy
        How often and how long.
    receive
        Reads the answer, whatever its status.
    give_up
        From the last reason to the sentence of the error.
    headers
        Header fields of the next request.
    progress
        Bytes so far.

    Raises
    ------
    ScfmError
        ``give_up``'s sentence after ``policy.tries`` attempts in a row without progress, or a redirect that is refused.
    """
    retries: urllib3.Retry = policy.retries()
    fields = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    while True:
        before, answer = progress(), None
        try:
            answer = _open(url, policy, retries, {**fields, **headers()})
            if answer.status in _PASSING:  # urllib3 has asked as often as it may
                raise ScfmError(give_up(f"the server answers {answer.status} {answer.reason}"))
            return receive(answer)
        except MaxRetryError as error:
            raise ScfmError(give_up(_reason(error))) from error
        except (HTTPError, TransientError) as error:
            if progress() > before:
                log.warning("%s: %s; resuming at byte %d", url, _reason(error), progress())
                retries = policy.retries()
                time.sleep(policy.pause)
                continue
            used = retries if answer is None or answer.retries is None else answer.retries
            try:
                retries = used.increment("GET", url, error=error)
            except MaxRetryError:
                raise ScfmError(give_up(_reason(error))) from error
            retries.sleep()
        finally:
            if answer is not None:
                answer.close()


def _open(url: str, policy: RetryPolicy, retries: urllib3.Retry, headers: Mapping[str, str]) -> BaseHTTPResponse:
    """Return the answer to a request, its body unread. Redirects are followed here and not by urllib3, because each
    address is checked, and may be asked by another proxy than the one before.
    """
    asked = url
    for _ in range(_MAX_REDIRECTS + 1):
        answer = pool_manager(asked).urlopen(
            "GET",
            asked,
            headers=headers,
            retries=retries,
            redirect=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=policy.timeout, read=policy.timeout),
        )
        where = answer.get_redirect_location()
        if not where:
            return answer
        answer.close()
        asked = urllib.parse.urljoin(asked, where)
        try:
            check_url(asked, allow_http=policy.allow_http)
        except ScfmError as error:
            raise ScfmError(f"{url}: the server redirects to an address that is refused. {error}") from None
    raise ScfmError(f"{url}: the server redirects more than {_MAX_REDIRECTS} times. Check the address in a browser.")


def _reason(error: Exception) -> str:
    """Return why a request failed, without urllib3's name of the connection."""
    error = getattr(error, "reason", None) or error
    return str(error).rpartition("): ")[2] or type(error).__name__


def refusal(url: str, answer: BaseHTTPResponse, advice: str = "") -> RefusedError:
    """Return the error for an answer whose status is an error that will not pass.

    Parameters
    ----------
    url
        What was asked.
    answer
        The answer.
    advice
        Where a person finds the file, or what to do, when it is not there.
    """
    cause = {
        401: (
            "It wants a login: open the page in a browser, accept its conditions there and put the file in place by"
            " hand."
        ),
        403: (
            "It refuses access: open the page in a browser, accept its conditions there and put the file in place by"
            " hand."
        ),
        404: f"The file is not there (any more): {advice or 'check the address.'}",
        410: f"The file is not there any more: {advice or 'look for where it has moved.'}",
    }.get(answer.status, "Try again later, or download the file in a browser and put it in place by hand.")
    return RefusedError(f"{url}: the server answers {answer.status} {answer.reason}. {cause}", answer.status)


def read_capped(answer: Any, url: str) -> bytes:
    """Return the body of an answer of at most :data:`MAX_JSON` bytes."""
    body = answer.read(MAX_JSON + 1)
    if len(body) > MAX_JSON:
        raise ScfmError(f"{url}: the answer has more than {MAX_JSON:,} bytes; expected JSON of an interface.")
    return body


def get_json(url: str, policy: RetryPolicy | None = None) -> Any:
    """Return the JSON that an address answers with.

    Raises
    ------
    RefusedError
        The server refuses; ``code`` says how.
    ScfmError
        No answer, or one that is not JSON.
    """
    policy = policy or RetryPolicy()
    check_url(url, allow_http=policy.allow_http)

    def receive(answer: BaseHTTPResponse) -> bytes:
        if answer.status != 200:
            raise refusal(url, answer)
        return read_capped(answer, url)

    def give_up(why: str) -> str:
        return f"{url}: no answer after {policy.tries} attempts ({why}). Is this machine connected to the internet?"

    body = ask(url, policy, receive, give_up=give_up, headers=lambda: {"Accept": "application/json"})
    try:
        return json.loads(body)
    except ValueError as error:
        raise ScfmError(
            f"{url}: the answer is not JSON but begins with {body[:60]!r}. Is it the address of the interface, or a"
            " login page?"
        ) from error
