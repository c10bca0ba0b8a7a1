"""What OSS's error codes mean for this application (P§10.2, P§10.4, P§12)."""

from __future__ import annotations

from .explanation import rows

_CLOCK = "Set the server's clock by NTP; see `oss-wsgi doctor --only clock`."
_FORM = "Post `fields` in their order, unchanged, and the file last, as `file`; a form of ours does so."
_KEY = "Check OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, without blanks, and the region: `oss-wsgi doctor --only v4`."

TABLE = rows(
    ("AccessDenied", "The policy, the key's permissions or the bucket refuse the upload; the message says which.",
     "`Policy expired`: take a fresh signature. `Policy Condition failed` or `Extra input fields`: the page changed, "
     "added or dropped a field. `no right ... bucket acl`: give the key oss:PutObject on acs:oss:*:*:BUCKET/DIR/*.",
     "TROUBLE P§3.6"),
    ("AccessForbidden", "No CORS rule of the bucket lets this page post; the upload itself is not at fault.",
     "Add the rule: `oss-wsgi cors apply --allowed-origins https://YOUR-PAGE`.", "CORS P§12.2"),
    ("AccessKeyIdAndSecurityTokenNotMatch", "The STS token belongs to another AccessKey ID.",
     "Take OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET and OSS_SESSION_TOKEN from one answer of STS.", "STS P§10.2"),
    ("CORSRuleBeyondLimit", "The bucket has as many CORS rules as OSS takes.",
     "Join rules, or remove old ones in the console; `oss-wsgi cors diff` shows ours.", "CORS P§12.1"),
    ("CallbackFailed", "Status 203: the file is stored, and the application was not told, or its answer would not do.",
     "Read the message and EC; try `oss-wsgi doctor --only callback`. In a page test for 200, not for response.ok.",
     "CALLBACK P§10.4"),
    ("EntityTooLarge", "The file is larger than the policy or OSS (5 GB in a form) allows.",
     "Raise OSS_UPLOAD_MAX_SIZE or the grant's max_size, or tell the user the limit; a `size` in the request is "
     "pinned.",
     "TROUBLE P§10.2"),
    ("EntityTooSmall", "The file is smaller than the policy allows.",
     "Lower the grant's min_size; a `size` in the request for the signature is pinned to the byte.", "TROUBLE P§10.2"),
    ("FieldItemTooLong", "A field's name or value is too long.", "Shorten what the page adds: metadata or variables.",
     "TROUBLE P§2.6"),
    ("FileAlreadyExists", "An object of that name exists, and our forms forbid to overwrite it.",
     "Leave OSS_UPLOAD_NAMES at unique, or give Grant(forbid_overwrite=False).", "POST P§2.2"),
    ("FileImmutable", "A retention policy of the bucket protects the object.", "Upload under another name.",
     "TROUBLE P§10.2"),
    ("IncorrectNumberOfFilesInPOSTRequest", "The form holds more than one file.", "Post one form for each file.",
     "POST P§10.2"),
    ("InvalidAccessKeyId", "OSS does not know the AccessKey ID, it is disabled, or it is a temporary one without its "
     "token or past its time.", "Check the key in the RAM console; with STS set OSS_SESSION_TOKEN too, or use a "
     "credentials provider that renews.", "TROUBLE P§10.2"),
    ("InvalidArgument", "A form field or a parameter of the callback is not as it must be; ArgumentName says which.",
     f"See the EC number. {_FORM}", "TROUBLE P§10.2"),
    ("InvalidBucketName", "The bucket's name is none.",
     "Check OSS_BUCKET: 3 to 63 lower-case letters, digits, hyphens.",
     "TROUBLE P§10.2"),
    ("InvalidDigest", "The body is not what Content-MD5 says: it was changed on its way.",
     "Do not set Content-MD5 on a form, or compute it over the whole body.", "TROUBLE P§2.1"),
    ("InvalidEncryptionAlgorithmError", "The page asked for an encryption that OSS does not have.",
     "Let the page add no x-oss-server-side-encryption.", "POST P§2.2"),
    ("InvalidObjectName", "The object's name is empty, too long (1,023 bytes) or begins with / or \\.",
     "Ask for the signature with `filename`; check OSS_UPLOAD_DIR.", "POST P§2.2"),
    ("InvalidPolicyDocument", "The policy is no well-formed policy.",
     "Ours are: see that nothing between changes `policy`, and that a grant of your own says no nonsense.",
     "POST P§3.6"),
    ("InvalidSecurityToken", "The STS token is not one.", "Set OSS_SESSION_TOKEN to the token that came with the key.",
     "STS P§10.2"),
    ("MalformedPOSTRequest", "The form is not well-formed, has no file, or the file is not last.", _FORM,
     "POST P§10.2"),
    ("MaxPOSTPreDataLengthExceededError", "The fields before the file are over 8 MB together.", _FORM, "POST P§2.6"),
    ("MethodNotAllowed", "Something else than POST came to the bucket's host.", "Post the form to `url`.",
     "TROUBLE P§10.2"),
    ("MissingContentLength", "The upload has no Content-Length.", "Send the form with a length, not in chunks.",
     "TROUBLE P§2.1"),
    ("NoSuchBucket", "There is no such bucket at this endpoint.",
     "Check OSS_BUCKET and OSS_REGION: `oss-wsgi doctor --only bucket`.", "TROUBLE P§10.2"),
    ("NoSuchCORSConfiguration", "The bucket has no CORS rules, so no page can read OSS's answers.",
     "`oss-wsgi cors apply --allowed-origins https://YOUR-PAGE`.", "CORS P§12.1"),
    ("PublicEndpointForbidden", "The bucket takes no uploads at the default domain (new accounts, since March 2025).",
     "Bind a domain of your own to the bucket, and set OSS_HOST to it.", "TROUBLE P§2.1"),
    ("RequestIsNotMultiPartContent", "The form was not sent as multipart/form-data.",
     "Post a FormData, and set no Content-Type yourself.", "TROUBLE P§10.2"),
    ("RequestTimeTooSkewed", "The signature's time and OSS's are more than 15 minutes apart.", _CLOCK,
     "TROUBLE P§5.4"),
    ("SecurityTokenExpired", "The STS token's time is over.",
     "Use a credentials provider that renews; do not put a temporary key into the environment for good.", "STS P§10.2"),
    ("SignatureDoesNotMatch",
     "The secret is not that of the AccessKey ID, or `policy` was changed after it was signed.",
     _KEY, "TROUBLE P§10.2"),
)
