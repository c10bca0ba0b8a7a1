"""Browser uploads to Alibaba Cloud OSS for any WSGI application: signed forms, verified callbacks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .application import DirectUpload as DirectUpload
    from .bucket import BucketClient as BucketClient
    from .callback.parameters import CallbackParameters as CallbackParameters
    from .callback.public_keys import PublicKeyStore as PublicKeyStore
    from .callback.ticket import TicketBook as TicketBook
    from .callback.upload import Upload as Upload
    from .callback.verifier import CallbackVerifier as CallbackVerifier
    from .credentials import Credentials as Credentials
    from .credentials import CredentialsProvider as CredentialsProvider
    from .credentials import EnvironmentVariableCredentialsProvider as EnvironmentVariableCredentialsProvider
    from .credentials import RefreshingCredentialsProvider as RefreshingCredentialsProvider
    from .credentials import StaticCredentialsProvider as StaticCredentialsProvider
    from .django.ledger import DjangoLedger as DjangoLedger
    from .endpoints.callback import CallbackEndpoint as CallbackEndpoint
    from .endpoints.health import HealthEndpoint as HealthEndpoint
    from .endpoints.health import ReadinessEndpoint as ReadinessEndpoint
    from .endpoints.metrics import Metrics as Metrics
    from .endpoints.metrics import MetricsEndpoint as MetricsEndpoint
    from .endpoints.rate_limit import RateLimit as RateLimit
    from .endpoints.redis_rate_limit import RedisRateLimit as RedisRateLimit
    from .endpoints.signature import SignatureEndpoint as SignatureEndpoint
    from .endpoints.static import StaticSite as StaticSite
    from .exceptions import OSSWSGIError as OSSWSGIError
    from .ledger.base import Ledger as Ledger
    from .ledger.memory import MemoryLedger as MemoryLedger
    from .ledger.redis import RedisLedger as RedisLedger
    from .ledger.sql import SQLLedger as SQLLedger
    from .ledger.sqlite import SQLiteLedger as SQLiteLedger
    from .middleware.access_log import AccessLog as AccessLog
    from .middleware.authorization import AuthorizationPassthrough as AuthorizationPassthrough
    from .middleware.callback_guard import CallbackGuard as CallbackGuard
    from .middleware.confirmation import Confirmation as Confirmation
    from .middleware.dispatcher import Dispatcher as Dispatcher
    from .middleware.once import OncePerUpload as OncePerUpload
    from .middleware.posted_files import PostedFiles as PostedFiles
    from .recovery.sweep import Reconciliation as Reconciliation
    from .sdk.bucket import SDKBucket as SDKBucket
    from .sdk.confirmation import SDKConfirmation as SDKConfirmation
    from .sdk.credentials import SDKCredentialsProvider as SDKCredentialsProvider
    from .settings import Settings as Settings
    from .signing.grant import Grant as Grant
    from .signing.presigned_url import PresignedURL as PresignedURL
    from .signing.presigned_url import URLPresigner as URLPresigner
    from .signing.presigner import PostPresigner as PostPresigner
    from .signing.presigner import PresignedPost as PresignedPost
    from .site import UploadPage as UploadPage

__version__ = "0.1.0"

#: The public names and their modules. A module is imported when its name is first used, because the pytest plugin and
#: the local OSS import this package and need none of the names.
_MODULES = {
    "AccessLog": ".middleware.access_log",
    "AuthorizationPassthrough": ".middleware.authorization",
    "BucketClient": ".bucket",
    "CallbackEndpoint": ".endpoints.callback",
    "CallbackGuard": ".middleware.callback_guard",
    "CallbackParameters": ".callback.parameters",
    "CallbackVerifier": ".callback.verifier",
    "Confirmation": ".middleware.confirmation",
    "Credentials": ".credentials",
    "CredentialsProvider": ".credentials",
    "DirectUpload": ".application",
    "Dispatcher": ".middleware.dispatcher",
    "DjangoLedger": ".django.ledger",
    "EnvironmentVariableCredentialsProvider": ".credentials",
    "Grant": ".signing.grant",
    "HealthEndpoint": ".endpoints.health",
    "Ledger": ".ledger.base",
    "MemoryLedger": ".ledger.memory",
    "Metrics": ".endpoints.metrics",
    "MetricsEndpoint": ".endpoints.metrics",
    "OSSWSGIError": ".exceptions",
    "OncePerUpload": ".middleware.once",
    "PostPresigner": ".signing.presigner",
    "PostedFiles": ".middleware.posted_files",
    "PresignedPost": ".signing.presigner",
    "PresignedURL": ".signing.presigned_url",
    "PublicKeyStore": ".callback.public_keys",
    "RateLimit": ".endpoints.rate_limit",
    "ReadinessEndpoint": ".endpoints.health",
    "Reconciliation": ".recovery.sweep",
    "RedisLedger": ".ledger.redis",
    "RedisRateLimit": ".endpoints.redis_rate_limit",
    "RefreshingCredentialsProvider": ".credentials",
    "SDKBucket": ".sdk.bucket",
    "SDKConfirmation": ".sdk.confirmation",
    "SDKCredentialsProvider": ".sdk.credentials",
    "SQLLedger": ".ledger.sql",
    "SQLiteLedger": ".ledger.sqlite",
    "Settings": ".settings",
    "SignatureEndpoint": ".endpoints.signature",
    "StaticCredentialsProvider": ".credentials",
    "StaticSite": ".endpoints.static",
    "TicketBook": ".callback.ticket",
    "URLPresigner": ".signing.presigned_url",
    "Upload": ".callback.upload",
    "UploadPage": ".site",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return globals().setdefault(name, getattr(import_module(_MODULES[name], __name__), name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
