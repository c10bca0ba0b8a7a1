"""A client of Redis or Valkey, from a URL or the application's own: it runs scripts, and shows no password."""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from ..exceptions import SettingsError

#: Schemes of URLs, and redis-py's name for each.
SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix"}

INSTALL = "pip install 'oss-wsgi[redis]'"

_HOW = "write redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS, with the password percent-encoded"

#: What redis-py raises for the parameters of a URL.
REFUSED_PARAMETERS: tuple[type[Exception], ...] = (TypeError, ValueError)

#: Seconds: OSS waits for five in all.
CONNECT_TIMEOUT = 2.0
ANSWER_TIMEOUT = 3.0

log = logging.getLogger(__name__)


class Script(NamedTuple):
    """A script that the server runs in one step, and the digest by which it knows the script."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Script:
        """Return the script with this Lua text."""
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class Run(NamedTuple):
    """One run of a script. In a cluster all its keys are in one slot."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[str | bytes | int]

    def command(self, *, by_digest: bool = True) -> tuple[str | bytes | int, ...]:
        """Return the command that runs the script, known to the server by its digest or not."""
        name, script = ("EVALSHA", self.script.sha) if by_digest else ("EVAL", self.script.text)
        return (name, script, len(self.keys), *self.keys, *self.arguments)


class RedisConnection:
    """Runs scripts on a Redis or Valkey server, or on a cluster.

    A client that is made from a URL is made when it is first needed, and again in a forked child. A URL of any node of
    a cluster leads to the whole cluster.

    :param url_or_client: a URL ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` or ``unix://``, with
        redis-py's parameters behind ``?``; or a ``redis.Redis`` or ``redis.RedisCluster``.
    :param timeouts: seconds for connecting and for an answer; a URL's parameters and a client's own win.
    :param own_options: names of parameters that are not redis-py's; ``options`` has their texts.

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
        self._timeouts = timeouts
        self._password = ""
        self._url = ""  # empty for a client of the application's own
        if isinstance(url_or_client, str):
            self._read_url(url_or_client, own_options)
        else:
            _check_client(url_or_client)
            self._client = url_or_client
            self._is_cluster = hasattr(url_or_client, "get_node_from_key")
            #: How messages name the server: without user, password and parameters.
            self.shown = _shown_client(url_or_client)
        redis = import_redis()
        if self._url:
            try:
                redis.Redis.from_url(self._url).connection_pool.make_connection()  # it connects when it is used
            except REFUSED_PARAMETERS as error:
                raise SettingsError(f"The URL of {self.shown} cannot be used: {self.message(error)}.") from None
        _connections.add(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown!r})"

    @property
    def client(self) -> Any:
        """The client of redis-py. Raises redis.RedisError and OSError."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._connect()
        return self._client

    @property
    def patience(self) -> float:
        """Seconds after which the client gives up an answer."""
        options = getattr(getattr(self.client, "connection_pool", None), "connection_kwargs", {})
        return float(options.get("socket_timeout") or ANSWER_TIMEOUT)

    @property
    def is_cluster(self) -> bool:
        """Whether the keys are spread over several servers. Raises redis.RedisError and OSError."""
        return self.client is not None and bool(self._is_cluster)

    def run(self, run: Run) -> Any:
        """Run a script and return its answer, texts as bytes. Raises redis.RedisError and OSError."""
        if not self.is_cluster:
            return self._exchange(self.client, [run], 0)[0][0]
        client = self.client
        try:
            return client.execute_command(*run.command(), **_AS_BYTES)
        except import_redis().exceptions.NoScriptError:  # the server was restarted, or is another one
            return client.execute_command(*run.command(by_digest=False), **_AS_BYTES)

    def run_all(self, runs: Sequence[Run], *, sync_milliseconds: int = 0) -> tuple[list[Any], Any]:
        """Run scripts one after the other; return their answers, and that of WAITAOF where it is asked for.

        ``sync_milliseconds`` waits as long at the most until the first script's server has written to the disk what it
        did, by the same connection. A script's error is raised, that of WAITAOF returned.
        """
        if not self.is_cluster:
            return self._exchange(self.client, runs, sync_milliseconds)
        answers, synced = self._on_node(runs[0], sync_milliseconds)
        return [*answers, *(self.run(each) for each in runs[1:])], synced

    def ask_each(self, method: str, argument: str, *, key: str | None = None) -> list[str]:
        """Return what each server, in a cluster each primary, says to ``info`` or ``config_get``.

        ``key`` names the value in the answer where it is not ``argument``. A server that refuses, or does not know,
        says nothing. Raises redis.RedisError and OSError.
        """
        options = {"target_nodes": "primaries"} if self.is_cluster else {}
        try:
            answer = getattr(self.client, method)(argument, **options)
        except import_redis().exceptions.ResponseError:  # forbidden by an ACL, or renamed by whoever runs the server
            return []
        answers = [answer]
        if self.is_cluster and all(isinstance(each, dict) for each in answer.values()):
            answers = list(answer.values())
        values = [each[key or argument] for each in answers if (key or argument) in each]
        return [value.decode() if isinstance(value, bytes) else str(value) for value in values]

    def problem_of_waitaof(self) -> str | None:
        """Return what a server says against WAITAOF; None if it works. Raises redis.RedisError and OSError."""
        client = self.client
        if self.is_cluster:
            client = client.get_redis_connection(client.get_primaries()[0])
        try:
            client.execute_command("WAITAOF", 1, 0, 1)
        except import_redis().exceptions.ResponseError as error:
            return self.message(error)
        return None

    def close(self) -> None:
        """Close the connections; the next call opens them again. The application's own client stays open."""
        if not self._url:
            return
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            if hasattr(client, "disconnect_connection_pools"):  # RedisCluster.close leaves those of its servers open
                client.disconnect_connection_pools()
            client.close()

    def message(self, error: BaseException) -> str:
        """Return what an error says, without the password."""
        text = f"{str(error) or type(error).__name__}"
        return text.replace(self._password, "...") if self._password else text

    def after_fork(self) -> None:
        """Forget what belongs to the parent process."""
        self._lock = threading.Lock()
        if self._url:
            self._client = None

    def _on_node(self, run: Run, sync_milliseconds: int) -> tuple[list[Any], Any]:
        """Run a script on the server of a cluster that has its keys."""
        exceptions = import_redis().exceptions
        if sync_milliseconds:
            try:
                node = self.client.get_node_from_key(run.keys[0])
                return self._exchange(self.client.get_redis_connection(node), [run], sync_milliseconds)
            except (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ResponseError) as error:
                log.info("a server of %s passes a script on: %s", self.shown, self.message(error))
        return [self.run(run)], None

    def _exchange(self, client: Any, runs: Sequence[Run], sync_milliseconds: int) -> tuple[list[Any], Any]:
        """Run scripts on one server, in one round trip by one connection."""
        exceptions = import_redis().exceptions
        wait = [("WAITAOF", 1, 0, sync_milliseconds)] if sync_milliseconds else []
        try:
            answers = _send(client, [*(run.command() for run in runs), *wait])
        except exceptions.ConnectionError:  # the server has closed the connection; all scripts may run twice
            answers = _send(client, [*(run.command() for run in runs), *wait])
        missing = [number for number, each in enumerate(answers) if isinstance(each, exceptions.NoScriptError)]
        if missing:
            again = _send(client, [*(runs[number].command(by_digest=False) for number in missing), *wait])
            for number, answer in zip([*missing, -1] if wait else missing, again, strict=True):
                answers[number] = answer
        synced = answers.pop() if wait else None
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers, synced

    def _read_url(self, url: str, own_options: Sequence[str]) -> None:
        parts = _split(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.options = {name: options.pop(name) for name in own_options if name in options}
        self._password = unquote(parts.password or "") or options.get("password", "")
        authority = parts.netloc.rpartition("@")[2]
        self.shown = f"{parts.scheme}://{authority}{parts.path}"
        plain = parts._replace(scheme=SCHEMES[parts.scheme], query=urlencode(options), fragment="")
        self._url = plain.geturl()

    def _connect(self) -> Any:
        """Return a client for the URL: of the one server, or of the cluster that it is a part of."""
        redis = import_redis()
        options: dict[str, Any] = {
            "socket_connect_timeout": self._timeouts[0],
            "socket_timeout": self._timeouts[1],
            # A connection that the server has closed is opened again; a server that is away is not waited for.
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
                return client
        except BaseException:
            client.close()
            raise
        client.close()
        del options["retry"]  # the cluster's client looks for the key's new server by itself
        return redis.RedisCluster.from_url(self._url, **options)


def _send(client: Any, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
    """Send commands together and return their answers, texts as bytes and refusals as exceptions.

    A pipeline of redis-py does the same in twice the time.
    """
    pool = client.connection_pool
    connection = pool.get_connection(*_command_name(pool.get_connection.__func__))
    answers: list[Any] = []
    try:
        connection.send_packed_command([b"".join(map(_packed, commands))])
        for _ in commands:
            try:
                answers.append(connection.read_response(disable_decoding=True))
            except import_redis().exceptions.ResponseError as error:
                answers.append(error)
    except BaseException:
        connection.disconnect()  # or the next user would read our answers
        raise
    finally:
        pool.release(connection)
    return answers


def _packed(command: Sequence[str | bytes | int]) -> bytes:
    """Return a command as it is sent (Redis serialization protocol, arrays of bulk strings)."""
    pieces = [b"*%d\r\n" % len(command)]
    for word in command:
        raw = word if isinstance(word, bytes) else str(word).encode()
        pieces.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(pieces)


@functools.cache
def _command_name(get_connection: Callable[..., object]) -> tuple[str, ...]:
    """Return what ``get_connection`` needs: the name of a command in redis-py 5.0 to 5.2, nothing since."""
    parameter = inspect.signature(get_connection).parameters.get("command_name")
    return ("EVALSHA",) if parameter is not None and parameter.default is inspect.Parameter.empty else ()


#: redis-py decodes no answer for which this is set, whatever the client says.
_AS_BYTES: dict[str, Any] = {"NEVER_DECODE": []}


def import_redis() -> Any:
    """Return redis-py; SettingsError with the line that installs it."""
    try:
        import redis
        import redis.backoff
        import redis.exceptions
        import redis.retry
    except ImportError as error:
        raise SettingsError(f"Redis and Valkey need the package redis: {INSTALL}") from error
    return redis


def server_errors() -> tuple[type[Exception], ...]:
    """Return what a client raises when the server is away, or refuses."""
    exceptions = import_redis().exceptions
    return (exceptions.RedisError, exceptions.RedisClusterException, OSError)


def is_redis_url(text: str) -> bool:
    """Return whether a text is a URL of Redis or Valkey."""
    return text.partition("://")[0].lower() in SCHEMES and "://" in text


def checked_prefix(prefix: str) -> str:
    """Return what begins the names of keys; SettingsError if it cannot."""
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
    """Return the parts of a URL; SettingsError, which shows nothing of the URL: there may be a password in it."""
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
        raise SettingsError(f"The URL of Redis must end in the number of a database, if in anything: {_HOW}.")
    return parts


def _check_client(client: Any) -> None:
    if not (hasattr(client, "execute_command") and hasattr(client, "pipeline")):
        raise SettingsError(
            f"Redis must be given as a URL, a redis.Redis or a redis.RedisCluster, not as {type(client).__name__}."
        )
    if "asyncio" in type(client).__module__:
        raise SettingsError("Redis must be given as a redis.Redis: this client is redis.asyncio's, and WSGI waits.")


def _shown_client(client: Any) -> str:
    pool = getattr(client, "connection_pool", None)
    options: Mapping[str, Any] = getattr(pool, "connection_kwargs", {})
    if "path" in options:
        return f"unix://{options['path']}"
    if "host" in options:
        return f"redis://{options['host']}:{options.get('port', 6379)}/{options.get('db', 0)}"
    return type(client).__name__


_connections: weakref.WeakSet[RedisConnection] = weakref.WeakSet()


def _after_fork() -> None:
    for connection in list(_connections):
        connection.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
