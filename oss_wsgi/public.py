"""The public names and their rooms; read when the first of them is asked for."""

from .application import DirectUpload
from .callback.parameters import CallbackParameters
from .callback.public_keys import PublicKeyStore
from .callback.ticket import TicketBook
from .callback.upload import Upload
from .callback.verifier import CallbackVerifier
from .credentials import (
    Credentials,
    CredentialsProvider,
    EnvironmentVariableCredentialsProvider,
    RefreshingCredentialsProvider,
    StaticCredentialsProvider,
)
from .endpoints.callback import CallbackEndpoint
from .endpoints.health import HealthEndpoint, ReadinessEndpoint
from .endpoints.metrics import Metrics, MetricsEndpoint
from .endpoints.rate_limit import RateLimit
from .endpoints.signature import SignatureEndpoint
from .endpoints.static import StaticSite
from .exceptions import OSSWSGIError
from .ledger.base import MemoryLedger
from .ledger.sqlite import SQLiteLedger
from .middleware.access_log import AccessLog
from .middleware.authorization import AuthorizationPassthrough
from .middleware.callback_guard import CallbackGuard
from .middleware.confirmation import Confirmation
from .middleware.dispatcher import Dispatcher
from .middleware.once import OncePerUpload
from .sdk.confirmation import SDKConfirmation
from .sdk.credentials import SDKCredentialsProvider
from .settings import Settings
from .signing.grant import Grant
from .signing.policy import PostPolicy
from .signing.presigner import PostPresigner, PresignedPost

__all__ = [
    "AccessLog",
    "AuthorizationPassthrough",
    "CallbackEndpoint",
    "CallbackGuard",
    "CallbackParameters",
    "CallbackVerifier",
    "Confirmation",
    "Credentials",
    "CredentialsProvider",
    "DirectUpload",
    "Dispatcher",
    "EnvironmentVariableCredentialsProvider",
    "Grant",
    "HealthEndpoint",
    "MemoryLedger",
    "Metrics",
    "MetricsEndpoint",
    "OSSWSGIError",
    "OncePerUpload",
    "PostPolicy",
    "PostPresigner",
    "PresignedPost",
    "PublicKeyStore",
    "RateLimit",
    "ReadinessEndpoint",
    "RefreshingCredentialsProvider",
    "SDKConfirmation",
    "SDKCredentialsProvider",
    "SQLiteLedger",
    "Settings",
    "SignatureEndpoint",
    "StaticCredentialsProvider",
    "StaticSite",
    "TicketBook",
    "Upload",
]
