"""What you need to test an application that uses oss_wsgi: a clock, signed callbacks, and the whole road in process."""

from .bodies import callback_body, multipart
from .clock import FrozenClock
from .road import Road
from .signer import KEY_URL, CallbackSigner

__all__ = ["KEY_URL", "CallbackSigner", "FrozenClock", "Road", "callback_body", "multipart"]
