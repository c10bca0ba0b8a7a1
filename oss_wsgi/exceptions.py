"""Every error that oss_wsgi raises; this module imports nothing.

    OSSWSGIError
        SettingsError               settings missing, malformed or contradictory
        CredentialsError            no credentials that could sign now
        PolicyError                 a policy that OSS would refuse
        GrantError                  a grant that cannot be signed
        UploadRequestError          what a browser asked for is not signed
            MalformedRequestError       it is not well-formed
            OutsideGrantError           the grant does not cover it
        FetchError                  an HTTP GET brought nothing usable
        CallbackError               a callback is not believed
            MalformedCallbackError      its body or its length is not well-formed
            LengthRequiredError         it does not say how long its body is
            BodyTooLargeError           its body is over the limit
            VerificationError           its signature was not found good
                UnverifiedError             the signature is wrong, or missing
                KeyUnavailableError         no answer: the key could not be had
            TicketUsedError             its ticket was used for another object
            LedgerUnavailableError      no answer: the ledger of what was handled cannot be used now
            NotConfirmedError           OSS, asked itself, holds another object or none
            ConfirmationUnavailableError  no answer: OSS could not be asked now
"""

from __future__ import annotations


class OSSWSGIError(Exception):
    """The base of all errors of this package."""


class SettingsError(OSSWSGIError, ValueError):
    """Raised for settings that are missing, malformed or contradict each other.

    ``problems`` holds one sentence for each, so that all can be mended at once.
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


class ReasonedError(OSSWSGIError):
    """An error with a stable ``reason`` code for programs and a ``hint`` for people."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"{reason}: {hint}")
        self.reason = reason
        self.hint = hint


class UploadRequestError(ReasonedError):
    """Raised when what a browser asked to upload is not signed."""


class MalformedRequestError(UploadRequestError):
    """Raised when a parameter of the signature request is not well-formed."""


class OutsideGrantError(UploadRequestError):
    """Raised when the grant does not cover the file that was asked for."""


class FetchError(OSSWSGIError):
    """Raised when an HTTP GET fails, takes too long, redirects or brings too much.

    ``status`` is that of the answer, where it was the status that would not do.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class CallbackError(ReasonedError):
    """Raised when a callback is not believed."""


class MalformedCallbackError(CallbackError):
    """Raised when the body, its type or its length is not well-formed."""


class LengthRequiredError(CallbackError):
    """Raised when a request does not say how long its body is."""


class BodyTooLargeError(CallbackError):
    """Raised when a body is over the limit; it has not been read."""


class VerificationError(CallbackError):
    """Raised when a callback's signature was not found good."""


class UnverifiedError(VerificationError):
    """Raised when the signature is missing, malformed, by an untrusted key, or wrong."""


class KeyUnavailableError(VerificationError):
    """Raised when nothing can be said: the key's URL is allowed, but the key could not be had."""


class TicketUsedError(CallbackError):
    """Raised when a callback's ticket was already used for another object."""


class LedgerUnavailableError(CallbackError):
    """Raised when the ledger cannot say now whether an upload was handled, or another thread still handles it."""


class NotConfirmedError(CallbackError):
    """Raised when OSS was asked, and what it holds contradicts the report."""


class ConfirmationUnavailableError(CallbackError):
    """Raised when nothing can be said: OSS could not be asked whether it holds the object.

    With ``accept`` the report is accepted all the same, and its upload marked ``confirmed=False``.
    """

    def __init__(self, reason: str, hint: str, *, accept: bool = False) -> None:
        super().__init__(reason, hint)
        self.accept = accept
