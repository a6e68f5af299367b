"""Web addresses: which ones are requested, and by which proxy and certificates."""

from __future__ import annotations

import ipaddress
import ssl
import urllib.parse
import urllib.request
from functools import cache

import urllib3

from scfm.errors import ScfmError


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


@cache
def _certificates() -> ssl.SSLContext:
    """Return the certificates of the system; reading them takes longer than a request to this machine."""
    return ssl.create_default_context()


def pool_manager(url: str) -> urllib3.PoolManager:
    """Return urllib3's manager of connections to an address.

    It takes the proxy from the environment (``https_proxy``, ``no_proxy``) and the certificates from the system
    (``SSL_CERT_FILE``); urllib3 by itself does not look for a proxy.
    """
    parts = urllib.parse.urlsplit(url)
    context = _certificates() if parts.scheme == "https" else None
    proxy = urllib.request.getproxies().get(parts.scheme, "")
    if not proxy or urllib.request.proxy_bypass(parts.netloc):
        return urllib3.PoolManager(ssl_context=context)
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    login = urllib3.util.parse_url(proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=urllib.parse.unquote(login)) if login else None
    return urllib3.ProxyManager(proxy, proxy_headers=headers, ssl_context=context)
