"""Every error that oss_wsgi raises; this module imports nothing.

::

    OSSWSGIError
        SettingsError                       settings are missing, malformed or contradict each other
        CredentialsError                    there are no credentials that can sign now
        PolicyError                         OSS would refuse a policy or a callback configuration
        GrantError                          a grant is malformed, or cannot be signed
        FetchError                          an HTTP GET returned nothing usable
        ReasonedError                       has a reason code and a hint
            UploadRequestError                  a signature request is refused
                MalformedRequestError               one of its parameters is malformed
                OutsideGrantError                   the grant does not cover the file
            CallbackError                       a callback is refused
                MalformedCallbackError              its body, its type or its length is malformed
                LengthRequiredError                 it does not state the length of its body
                BodyTooLargeError                   its body is over the limit
                VerificationError                   its signature was not verified
                    UnverifiedError                     the signature is missing or wrong
                    KeyUnavailableError                 undecided: the key could not be fetched
                TicketUsedError                     its ticket was used for another object or ETag
                LedgerUnavailableError              undecided: the ledger cannot be used now
                NotConfirmedError                   OSS holds another object, or none
                ConfirmationUnavailableError        undecided: OSS could not be asked
"""

from __future__ import annotations


class OSSWSGIError(Exception):
    """The base of all errors of this package."""


class SettingsError(OSSWSGIError, ValueError):
    """Raised for settings that are missing, malformed or contradict each other.

    ``problems`` has one sentence for each, so that all can be fixed at once.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CredentialsError(OSSWSGIError):
    """Raised when there are no credentials, or they have expired."""


class PolicyError(OSSWSGIError, ValueError):
    """Raised for a policy or a callback configuration that OSS would refuse."""


class GrantError(OSSWSGIError, ValueError):
    """Raised for a grant that is malformed or cannot be signed."""


class FetchError(OSSWSGIError):
    """Raised when an HTTP GET fails, takes too long, is redirected or returns too much.

    ``status`` is the response's status if that is what was wrong.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ReasonedError(OSSWSGIError):
    """An error with a stable ``reason`` code for programs and a ``hint`` for people."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"{reason}: {hint}")
        self.reason = reason
        self.hint = hint


class UploadRequestError(ReasonedError):
    """Raised when a signature request is refused."""


class MalformedRequestError(UploadRequestError):
    """Raised when a parameter of a signature request is malformed."""


class OutsideGrantError(UploadRequestError):
    """Raised when the grant does not cover the file of a signature request."""


class CallbackError(ReasonedError):
    """Raised when a callback is refused."""


class MalformedCallbackError(CallbackError):
    """Raised when the body of a callback, its type or its length is malformed."""


class LengthRequiredError(CallbackError):
    """Raised when a callback does not state the length of its body."""


class BodyTooLargeError(CallbackError):
    """Raised when the body of a callback is over the limit; it has not been read."""


class VerificationError(CallbackError):
    """Raised when the signature of a callback was not verified."""


class UnverifiedError(VerificationError):
    """Raised when the signature is missing, malformed, by an untrusted key, or wrong."""


class KeyUnavailableError(VerificationError):
    """Raised when verification is undecided: the key's URL is trusted, but the key could not be fetched."""


class TicketUsedError(CallbackError):
    """Raised when the ticket of a callback was already used for another object, or another ETag of the only one."""


class LedgerUnavailableError(CallbackError):
    """Raised when the ledger cannot say now whether an upload was handled, or other threads handle or await it."""


class NotConfirmedError(CallbackError):
    """Raised when OSS was asked, and what it holds contradicts the callback."""


class ConfirmationUnavailableError(CallbackError):
    """Raised when confirmation is undecided: OSS could not be asked whether it holds the object.

    With ``accept`` the callback is accepted all the same, and its upload has ``confirmed=False``.
    """

    def __init__(self, reason: str, hint: str, *, accept: bool = False) -> None:
        super().__init__(reason, hint)
        self.accept = accept
