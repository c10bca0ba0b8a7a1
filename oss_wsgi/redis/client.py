"""A client of Redis or Valkey, from a URL or the application's own, that runs scripts and shows no password."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from ..exceptions import SettingsError
from ..threads import ForkAware, inherited

#: Scheme of a URL -> redis-py's name for it.
SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix"}

INSTALL = "pip install 'oss-wsgi[redis]'"

_HOW = "write redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS, with the password percent-encoded"

#: The errors that redis-py raises for a URL's parameters.
REFUSED_PARAMETERS: tuple[type[Exception], ...] = (TypeError, ValueError)

#: Seconds; OSS waits five seconds in all.
CONNECT_TIMEOUT = 2.0
ANSWER_TIMEOUT = 3.0

#: With this option redis-py does not decode the answer, even if the client decodes answers.
_AS_BYTES: dict[str, Any] = {"NEVER_DECODE": []}


class Script(NamedTuple):
    """A script that the server runs in one step, and the digest by which the server recognizes it."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Script:
        """Return the script with this Lua text."""
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class RedisServer(ForkAware):
    """Runs scripts on a Redis or Valkey server, or on a cluster.

    From a URL, the client is made at its first use, and again in a forked child. The URL of any node of a cluster
    connects to the whole cluster. All methods that ask the server raise the errors that ``server_errors`` returns.

    :param url_or_client: a URL ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` or ``unix://``, with
        redis-py's parameters behind ``?``; or a ``redis.Redis`` or ``redis.RedisCluster``.
    :param timeouts: seconds for connecting and for an answer; a URL's parameters and a client's own settings override
        them.
    :param own_options: names of further parameters, not redis-py's; their texts are in ``options``.

    Raises SettingsError for anything else.
    """

    def __init__(
        self,
        url_or_client: Any,
        *,
        timeouts: tuple[float, float] = (CONNECT_TIMEOUT, ANSWER_TIMEOUT),
        own_options: Sequence[str] = (),
    ) -> None:
        self.options: dict[str, str] = {}
        self._lock = threading.Lock()
        self._client: Any = None
        self._is_cluster: bool | None = None
        #: Clients of one connection each, which no call uses now.
        self._idle: deque[Any] = deque()
        self._timeouts = timeouts
        self._password = ""
        self._url = ""  # empty for the application's own client
        if isinstance(url_or_client, str):
            self._read_url(url_or_client, own_options)
        else:
            _check_client(url_or_client)
            self._client = url_or_client
            self._is_cluster = hasattr(url_or_client, "get_node_from_key")
            #: The server's name for messages, without user, password and parameters.
            self.shown = _shown_client(url_or_client)
        super().__init__()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown!r})"

    @property
    def client(self) -> Any:
        """The client of redis-py."""
        client = self._client  # read once: another thread may close the server
        if client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._connect()
                client = self._client
        return client

    @property
    def patience(self) -> float:
        """Seconds for which the client waits for an answer."""
        return float(self.client.get_connection_kwargs().get("socket_timeout") or ANSWER_TIMEOUT)

    @property
    def is_cluster(self) -> bool:
        """Whether the keys are spread over several servers."""
        return self.client is not None and bool(self._is_cluster)

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | int] = ()) -> Any:
        """Run a script and return its answer, texts as bytes. In a cluster all keys are in one slot.

        If the connection breaks, the script may run more than once.
        """
        call = len(keys), *keys, *arguments
        try:
            return self._execute("EVALSHA", script.sha, *call)
        except import_redis().exceptions.NoScriptError:  # the server was restarted or replaced
            return self._execute("EVAL", script.text, *call)

    def sync(self, key: str, milliseconds: int) -> Any:
        """Wait at most ``milliseconds`` until a key's server has written everything so far to its disk.

        Returns the answer of WAITAOF, which may be an exception. WAITAOF waits only for writes of its own connection,
        so this first writes the key, which expires at once; older writes reach the disk before it.
        """
        client = self.client
        if self.is_cluster:
            client = client.get_redis_connection(client.get_node_from_key(key))
        pipeline = client.pipeline(transaction=False)
        pipeline.execute_command("SET", key, b"", "PX", 1, **_AS_BYTES)
        pipeline.execute_command("WAITAOF", 1, 0, milliseconds, **_AS_BYTES)
        written, synced = pipeline.execute(raise_on_error=False)
        if isinstance(written, Exception):
            raise written
        return synced

    def ask_each(self, method: str, argument: str, *, key: str | None = None) -> list[str]:
        """Return each server's answer to ``info`` or ``config_get``; in a cluster, each primary's.

        ``key`` names the value in the answer, by default ``argument``. A server that refuses, or has no such value, is
        left out.
        """
        options = {"target_nodes": "primaries"} if self.is_cluster else {}
        try:
            answer = getattr(self.client, method)(argument, **options)
        except import_redis().exceptions.ResponseError:  # an ACL forbids the command, or it was renamed
            return []
        answers = [answer]
        if self.is_cluster and all(isinstance(each, dict) for each in answer.values()):
            answers = list(answer.values())
        values = [each[key or argument] for each in answers if (key or argument) in each]
        return [value.decode() if isinstance(value, bytes) else str(value) for value in values]

    def close(self) -> None:
        """Close the connections; the next call opens them again. The application's own client stays open.

        Calls in progress end first: each then closes its connection. (In a cluster they may fail.)
        """
        if not self._url:
            return
        with self._lock:
            client, self._client = self._client, None
            idle, self._idle = self._idle, deque()
        _disconnect(idle)
        if client is None:
            return
        if hasattr(client, "disconnect_connection_pools"):  # RedisCluster.close leaves those of its servers open
            client.disconnect_connection_pools()
            client.close()
        else:
            client.connection_pool.disconnect(inuse_connections=False)

    def message(self, error: BaseException) -> str:
        """Return an error's text without the password."""
        text = f"{str(error) or type(error).__name__}"
        return text.replace(self._password, "...") if self._password else text

    def _renew_in_child(self) -> None:
        self._lock = threading.Lock()
        if self._url:
            # To close them, redis-py would wait for locks that threads of the parent may have held.
            inherited.append((self._client, self._idle))
            self._client, self._idle = None, deque()

    def _execute(self, *command: str | bytes | int) -> Any:
        """Run a command; redis-py's client and its pool would cost as much CPU time as the command itself."""
        client, idle = self.client, self._idle
        if self._is_cluster or not self._url:
            return client.execute_command(*command, **_AS_BYTES)
        try:
            single = idle.pop()
        except IndexError:
            single = client.client()
        try:
            try:
                single.connection.send_command(*command)
                return single.connection.read_response(disable_decoding=True)
            except import_redis().exceptions.ConnectionError:  # the server has closed it: this opens it again
                return single.execute_command(*command, **_AS_BYTES)
        except BaseException as error:
            # After an error of a signal's handler, an answer may come that is not the next command's.
            if not isinstance(error, import_redis().exceptions.RedisError):
                single.connection.disconnect()
            raise
        finally:
            idle.append(single)
            if idle is not self._idle:  # closed meanwhile
                _disconnect(idle)

    def _read_url(self, url: str, own_options: Sequence[str]) -> None:
        parts = _split(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.options = {name: options.pop(name) for name in own_options if name in options}
        self._password = unquote(parts.password or "") or options.get("password", "")
        authority = parts.netloc.rpartition("@")[2]
        self.shown = f"{parts.scheme}://{authority}{parts.path}"
        query = f"?{urlencode(options)}" if options else ""
        self._url = f"{SCHEMES[parts.scheme]}://{parts.netloc}{parts.path}{query}"
        redis = import_redis()
        try:
            inspect.signature(redis.Redis).bind_partial(**options)
            redis.Redis.from_url(self._url).close()  # it connects only when it is used
        except REFUSED_PARAMETERS as error:
            raise SettingsError(f"The URL of {self.shown} cannot be used: {self.message(error)}.") from None

    def _connect(self) -> Any:
        """Return a client for the URL's server, or for the cluster to which the server belongs."""
        redis = import_redis()
        options: dict[str, Any] = {
            "socket_connect_timeout": self._timeouts[0],
            "socket_timeout": self._timeouts[1],
            # Open a connection again that the server has closed, but do not wait for a server that is away.
            "retry": redis.retry.Retry(redis.backoff.ConstantBackoff(0.02), 1, (redis.exceptions.ConnectionError,)),
            "health_check_interval": 15,
            "max_connections": 10_000,
        }
        if not self._url.startswith("unix:"):
            options["socket_keepalive"] = True
        if self._url.startswith("rediss:"):
            options["ssl_check_hostname"] = True
        client = redis.Redis.from_url(self._url, **options)
        try:
            self._is_cluster = _is_cluster(client)
            if not self._is_cluster:
                client.auto_close_connection_pool = False  # or its end would cut calls in progress; see close
                return client
        except BaseException:
            client.close()
            raise
        client.close()
        del options["retry"]  # the cluster's client finds a key's new server by itself
        return redis.RedisCluster.from_url(self._url, **options)


def _disconnect(idle: deque[Any]) -> None:
    """Close the connections of clients that wait for a call."""
    with contextlib.suppress(IndexError):
        while True:
            idle.pop().connection.disconnect()


def import_redis() -> Any:
    """Return redis-py; SettingsError, with the command that installs it, if it is missing."""
    try:
        import redis
        import redis.backoff
        import redis.exceptions
        import redis.retry
    except ImportError as error:
        raise SettingsError(f"Redis and Valkey need the package redis: {INSTALL}") from error
    return redis


def server_errors() -> tuple[type[Exception], ...]:
    """Return the errors that a client raises if the server is away or refuses."""
    exceptions = import_redis().exceptions
    return (exceptions.RedisError, exceptions.RedisClusterException, OSError)


def checked_prefix(prefix: str) -> str:
    """Return the prefix of the keys' names; SettingsError if it is malformed."""
    if not prefix or not prefix.isprintable() or set(prefix) & set("{} "):
        raise SettingsError(
            f"The prefix of the keys must be printable, without braces and blanks, not {prefix!r}: braces name the "
            "slot of a cluster."
        )
    return prefix


def _is_cluster(client: Any) -> bool:
    exceptions = import_redis().exceptions
    try:
        return bool(client.info("cluster").get("cluster_enabled"))
    except exceptions.ResponseError:  # INFO is forbidden
        return False


def _split(url: str) -> SplitResult:
    """Return the parts of a URL; SettingsError, whose text shows nothing of the URL, since it may hold a password."""
    try:
        parts = urlsplit(url.strip())
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        raise SettingsError(f"The URL of Redis cannot be read: {_HOW}.") from None
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise SettingsError(f"The URL of Redis must begin with one of {known}: {_HOW}.")
    if not has_port or (parts.scheme != "unix" and not parts.hostname):
        raise SettingsError(f"The URL of Redis names no host, or port 0: {_HOW}.")
    if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        raise SettingsError(f"The path of the URL of Redis must be the number of a database, or nothing: {_HOW}.")
    return parts


def _check_client(client: Any) -> None:
    if not (hasattr(client, "execute_command") and hasattr(client, "pipeline")):
        raise SettingsError(
            f"Redis must be given as a URL, a redis.Redis or a redis.RedisCluster, not as {type(client).__name__}."
        )
    if "asyncio" in type(client).__module__:
        raise SettingsError(
            "Redis must be given as a redis.Redis: this client is redis.asyncio's, which WSGI cannot await."
        )


def _shown_client(client: Any) -> str:
    options = client.get_connection_kwargs()
    if "path" in options:
        return f"unix://{options['path']}"
    if "host" in options:
        return f"redis://{options['host']}:{options.get('port', 6379)}/{options.get('db', 0)}"
    return type(client).__name__
