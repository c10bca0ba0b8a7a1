"""All errors that oss_wsgi raises; this module imports nothing.

To catch several errors, catch their base: ``CallbackError``, ``PartsError``, ``RecoveryError``, or ``OSSWSGIError``.
"""

from __future__ import annotations


class OSSWSGIError(Exception):
    """The base of all errors of this package."""


class SettingsError(OSSWSGIError, ValueError):
    """Raised for settings that are missing, malformed or contradict each other.

    ``problems`` has one sentence for each problem, so that all can be fixed at once.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(problems[0] if len(problems) == 1 else "\n".join(problems))
        self.problems = problems


class CredentialsError(OSSWSGIError):
    """Raised when there are no credentials, or they have expired."""


class PolicyError(OSSWSGIError, ValueError):
    """Raised for a configuration of callbacks that OSS would refuse."""


class PresignError(OSSWSGIError, ValueError):
    """Raised for a request that cannot be signed in a URL, or whose URL OSS would refuse."""


class GrantError(OSSWSGIError, ValueError):
    """Raised for a grant that is malformed or cannot be signed."""


class FetchError(OSSWSGIError):
    """Raised when an HTTP GET fails, takes too long, is redirected or returns too much.

    ``status`` is the response's status if the status was the error, else None.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ReasonedError(OSSWSGIError):
    """An error with a stable ``reason`` code, and a ``hint`` that describes this case.

    A row of ``explanations/rows.toml`` says what each reason means, and its fix.
    """

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"{reason}: {hint}")
        self.reason = reason
        self.hint = hint


class SlotsTakenError(ReasonedError):
    """Raised when browsers' requests, or those of one caller, hold all threads that they may: ask again."""


class UploadRequestError(ReasonedError):
    """Raised when a signature request is refused."""


class MalformedRequestError(UploadRequestError):
    """Raised when a parameter of a signature request is malformed."""


class OutsideGrantError(UploadRequestError):
    """Raised when the grant does not cover the file of a signature request."""


class NotAuthorizedError(ReasonedError):
    """Raised when ``authorize``, or a setting, refuses what a request asks for."""


class TooManyRequestsError(ReasonedError):
    """Raised when a caller asks too often; ``seconds`` is how long it must wait."""

    def __init__(self, reason: str, hint: str, *, seconds: int) -> None:
        super().__init__(reason, hint)
        self.seconds = seconds


class CallableFailedError(ReasonedError):
    """Raised when a callable of the application raised, or returned what it must not; an exception is the cause."""


class CallbackError(ReasonedError):
    """Raised when a callback is refused."""


class MalformedCallbackError(CallbackError):
    """Raised when the body of a callback, its type or its length is malformed."""


class LengthRequiredError(CallbackError):
    """Raised when a callback does not state the length of its body."""


class BodyTooLargeError(CallbackError):
    """Raised when the body of a callback is over the limit; it has not been read."""


class BodyTimeoutError(CallbackError):
    """Raised when the body of a callback, or of another request, takes too long to arrive."""


class MemoryTakenError(CallbackError):
    """Raised when bodies of requests hold as much memory as they may: ask again."""


class VerificationError(CallbackError):
    """Raised when the signature of a callback was not verified."""


class UnverifiedError(VerificationError):
    """Raised when the signature is missing, malformed, wrong, or made with an untrusted key.

    ``upload`` is the upload that a ticket or a receipt does not allow, if it was found in the bucket; else None.
    """

    upload: object = None


class SignedIDError(UnverifiedError):
    """Raised when a signed ID does not prove an upload of this bucket and user: it came from the browser."""


class KeyUnavailableError(VerificationError):
    """Raised when verification is undecided: the key's URL is trusted, but the key could not be fetched."""


class TicketUsedError(CallbackError):
    """Raised when a callback's ticket was used already: for another object, or another ETag of its only object."""


class LedgerUnavailableError(CallbackError):
    """Raised when the ledger cannot be used now, or other threads are handling the upload or waiting for it."""


class HandlerCommittedError(CallbackError):
    """Raised when a handler ends or breaks the transaction in which the ledger stores the response."""


class HandlerFailedError(CallbackError):
    """Raised when ``on_upload`` raised, or returned what it must not; its exception is the cause."""


class NotGuardedError(CallbackError):
    """Raised when an application that answers verified uploads gets a request without one."""


class NotConfirmedError(CallbackError):
    """Raised when the object in OSS contradicts the callback."""


class ConfirmationUnavailableError(CallbackError):
    """Raised when confirmation is undecided: OSS could not be asked whether it holds the object.

    With ``accept`` the callback is still accepted, and its upload has ``confirmed=False``.
    """

    def __init__(self, reason: str, hint: str, *, accept: bool = False) -> None:
        super().__init__(reason, hint)
        self.accept = accept


class PartsError(ReasonedError):
    """Raised when an upload in parts cannot go on."""


class PartsRefusedError(PartsError):
    """Raised when the parts cannot be joined as they are; they stay stored, and sending some again may help."""


class PartsNotAllowedError(PartsError):
    """Raised when the total size of the parts is not allowed; the parts were removed."""


class UploadGoneError(PartsError):
    """Raised when OSS has neither the upload in parts nor its object: it must begin again."""


class UploadUnsettledError(PartsError):
    """Raised when OSS did not say whether it joined the parts, and shows no object yet: ask again."""


class PartsCorruptError(PartsError):
    """Raised when the object that OSS joined differs from its parts."""


class FormError(ReasonedError):
    """Raised when a posted form that lists files of OSS is malformed."""


class PostedFileChangedError(FormError):
    """Raised when OSS no longer holds a file of a posted form as it was uploaded."""


class RecoveryError(ReasonedError):
    """Raised when an upload whose callback did not arrive is not recovered."""


class MalformedRecoveryError(RecoveryError):
    """Raised when a request to recover an upload, or the event of an upload, cannot be read."""


class NotStoredError(RecoveryError):
    """Raised when OSS holds no object of this name."""


class NotYoursError(RecoveryError):
    """Raised when the object has no receipt, or one of another upload."""


class BucketError(RecoveryError):
    """Raised when a request to the bucket got no result."""


class BucketUnreachableError(BucketError):
    """Raised when OSS cannot be reached, does not answer in time, or answers 5xx: asking again may help."""


class BucketRefusedError(BucketError):
    """Raised when OSS refuses a request to the bucket.

    ``code`` is OSS's error code, ``right`` the right that the request needs, such as ``oss:GetObject``.
    """

    def __init__(self, reason: str, hint: str, *, code: str = "", right: str = "") -> None:
        super().__init__(reason, hint)
        self.code = code
        self.right = right


class NotDeliveredError(RecoveryError):
    """Raised when the application did not accept a found upload: the same event must be delivered again."""


class SweepRunningError(RecoveryError):
    """Raised when another thread or process is sweeping already."""
