"""Asking web servers: what is retried and how long, what is a refusal, and JSON answers."""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import json
import logging
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from scfm.errors import ScfmError

log = logging.getLogger(__name__)

AGENT = "scfmbench"
#: answers after which the same question may get another answer
_PASSING = {408, 425, 429, 500, 502, 503, 504}
#: errors of the connection, unlike those of the disk
_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)

#: bytes of a JSON answer at most
MAX_JSON = 200_000_000

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How a broken download is retried.

    Attributes
    ----------
    tries
        Attempts in a row that bring no new byte, before giving up.
    pause
        Seconds before the second attempt; doubled for each further one, at most ``longest``.
    timeout
        Seconds without an answer.
    max_bytes
        Largest file that is downloaded.
    allow_http
        Whether addresses without encryption are taken; loopback addresses always are.
    sleep
        Waits; replaced in tests.
    """

    tries: int = 6
    pause: float = 2.0
    longest: float = 120.0
    timeout: float = 60.0
    max_bytes: int = 2_000_000_000_000
    allow_http: bool = False
    sleep: Callable[[float], None] = time.sleep


class TransientError(Exception):
    """An error that may pass.

    Attributes
    ----------
    wait
        Seconds after which the server wants to be asked again; None where it does not say.
    """

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


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


def check_url(url: str, *, allow_http: bool = False) -> None:
    """Raise :class:`ScfmError` where a text is no ``https`` address that can be asked.

    Parameters
    ----------
    url
        The address. ``http`` is taken for loopback addresses only, unless ``allow_http``.
    """
    odd = [c for c in url if c.isspace() or ord(c) < 32 or ord(c) > 126]  # ASCII that is printed
    if odd:
        raise ScfmError(
            f"{url!r}: not a web address: it holds {odd[0]!r}. Blanks and letters beyond ASCII are written as %XX in"
            f" one."
        )
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port  # the port is parsed here, and may be none
    except ValueError as error:
        raise ScfmError(f"{url}: not a web address ({error}); expected https://host/path.") from error
    if parts.scheme not in {"https", "http"} or not host:
        raise ScfmError(f"{url}: not a web address (https://...).")
    if parts.scheme == "http" and not (allow_http or _is_loopback(host)):
        raise ScfmError(
            f"{url}: is not encrypted, so nothing tells who sends the file. Use https://, or --allow_http where you"
            f" trust"
            " the network."
        )


def _is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to addresses that could have been asked in the first place."""

    def __init__(self, *, allow_http: bool) -> None:
        self.allow_http = allow_http

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:  # noqa: PLR0917  # urllib calls it
        """Return the request that follows, or raise where its address is refused."""
        try:
            check_url(newurl, allow_http=self.allow_http)
        except ScfmError as error:
            raise ScfmError(f"{req.full_url}: the server sends on to an address that is refused. {error}") from None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(request: urllib.request.Request, policy: RetryPolicy) -> Any:
    """Return the answer to a request, redirects followed."""
    opener = urllib.request.build_opener(_Redirects(allow_http=policy.allow_http))
    return opener.open(request, timeout=policy.timeout)


def retry(
    attempt: Callable[[], Answer],
    policy: RetryPolicy,
    *,
    name: str,
    give_up: Callable[[str], str],
    progress: Callable[[], int] = lambda: 0,
) -> Answer:
    """Return what an attempt returns; after an error of the network or a :class:`TransientError` one, try again after a
    pause.

    Parameters
    ----------
    attempt
        Asks.
    policy
        How long.
    name
        How log lines call it.
    give_up
        From the last reason to the sentence of the error.
    progress
        Bytes so far: an attempt that added some is no failure.

    Raises
    ------
    ScfmError
        ``give_up``'s sentence, after ``policy.tries`` attempts in a row without progress.
    """
    failures = 0
    while True:
        before = progress()
        try:
            return attempt()
        except (TransientError, *_NETWORK) as error:
            so_far = progress()
            failures = 0 if so_far > before else failures + 1
            why = str(getattr(error, "reason", "") or error) or type(error).__name__
            if failures >= policy.tries:
                raise ScfmError(give_up(why)) from error
            asked = getattr(error, "wait", None)
            wait = min(policy.longest, policy.pause * 2 ** max(0, failures - 1) if asked is None else asked)
            log.warning(
                "%s: %s; %s in %.0f s", name, why, f"going on at byte {so_far}" if so_far else "asking again", wait
            )
            policy.sleep(wait)


def status_error(url: str, error: urllib.error.HTTPError, advice: str = "") -> TransientError | RefusedError:
    """Return what a server's error status means: ask again, or a sentence.

    Parameters
    ----------
    url
        What was asked.
    error
        The answer.
    advice
        Where a person finds the file, or what to do, when it is not there.
    """
    if error.code in _PASSING:
        return TransientError(f"the server answers {error.code} {error.reason}", _retry_after(error))
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
    }.get(error.code, "Try again later, or download the file in a browser and put it in place by hand.")
    return RefusedError(f"{url}: the server answers {error.code} {error.reason}. {cause}", error.code)


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, as a number or as a date."""
    text = str(error.headers.get("Retry-After", "")).strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


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

    def attempt() -> bytes:
        request = urllib.request.Request(url, headers={"User-Agent": AGENT, "Accept": "application/json"})
        try:
            with open_url(request, policy) as answer:
                return read_capped(answer, url)
        except urllib.error.HTTPError as error:
            error.close()
            raise status_error(url, error) from error

    def give_up(why: str) -> str:
        return f"{url}: no answer after {policy.tries} attempts ({why}). Is this machine connected to the internet?"

    body = retry(attempt, policy, name=url, give_up=give_up)
    try:
        return json.loads(body)
    except ValueError as error:
        raise ScfmError(
            f"{url}: the answer is not JSON but begins with {body[:60]!r}. Is it the address of the interface, or a"
            " login page?"
        ) from error
