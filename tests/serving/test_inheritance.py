"""What a child finds in its environment."""

from __future__ import annotations

import socket

from oss_wsgi.serving.inheritance import CHILD_VARIABLE, Inheritance, inheritance


def test_a_process_without_a_parent_inherits_nothing() -> None:
    environ = {"HOME": "/"}
    assert inheritance(environ) is None
    assert environ == {"HOME": "/"}


def test_a_child_takes_from_the_environment_what_its_parent_left() -> None:
    ours = socket.socket()
    theirs = ours.dup()
    theirs.set_inheritable(True)
    environ: dict[str, str] = {}
    with ours:
        left = Inheritance([theirs], [], ["Open it."], "http://127.0.0.1/oss/callback", owns_listeners=True, number=1)
        left.to_environ(environ)
        descriptor = theirs.detach()
        child = inheritance(environ)
    assert child is not None
    assert CHILD_VARIABLE not in environ
    (listener,) = child.listeners
    with listener:
        assert (listener.fileno(), listener.get_inheritable()) == (descriptor, False)
    assert (child.greeting, child.callback_url, child.number) == (["Open it."], "http://127.0.0.1/oss/callback", 1)
    assert not child.owns_listeners, "the parent has them too"
