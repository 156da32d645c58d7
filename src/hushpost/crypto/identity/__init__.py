"""Who is who: keys, ids, manifests, links, safety numbers, servers and logins.

Public keys and signatures only, so that the server may import it; secrets of this package sign, and open
no message. Normative text: docs/spec/keys.md and docs/spec/auth.md.
"""

from hushpost.crypto.identity.chain import (
    KeyReplaced,
    Verified,
    first_manifest,
    next_manifest,
    verify_chain,
)
from hushpost.crypto.identity.keys import (
    AccountFingerprint,
    AccountKey,
    AccountSecret,
    DeviceDhKey,
    DeviceKey,
    RecoveryKey,
    RecoverySecret,
    account_fingerprint,
    device_id,
)
from hushpost.crypto.identity.links import (
    Authority,
    ContactLink,
    InviteToken,
    JoinLink,
    ServerFingerprint,
    ServerPin,
    Uninvited,
    parse_link,
)
from hushpost.crypto.identity.manifest import (
    NO_MANIFEST,
    Device,
    Manifest,
    ManifestFault,
    ManifestHash,
    SignedBy,
)
from hushpost.crypto.identity.phrase import RecoverySeed, format_phrase, parse_phrase
from hushpost.crypto.identity.safety import safety_number
from hushpost.crypto.identity.servers import (
    CertificateDigest,
    ClientNonce,
    LeafCertificate,
    LeafKeyDigest,
    Login,
    ServerFault,
    ServerKey,
    ServerNonce,
    ServerSecret,
    ServerStatement,
    verify_server,
)
from hushpost.crypto.primitives import Signature, Signer

__all__ = [
    "NO_MANIFEST",
    "AccountFingerprint",
    "AccountKey",
    "AccountSecret",
    "Authority",
    "CertificateDigest",
    "ClientNonce",
    "ContactLink",
    "Device",
    "DeviceDhKey",
    "DeviceKey",
    "InviteToken",
    "JoinLink",
    "KeyReplaced",
    "LeafCertificate",
    "LeafKeyDigest",
    "Login",
    "Manifest",
    "ManifestFault",
    "ManifestHash",
    "RecoveryKey",
    "RecoverySecret",
    "RecoverySeed",
    "ServerFault",
    "ServerFingerprint",
    "ServerKey",
    "ServerNonce",
    "ServerPin",
    "ServerSecret",
    "ServerStatement",
    "Signature",
    "SignedBy",
    "Signer",
    "Uninvited",
    "Verified",
    "account_fingerprint",
    "device_id",
    "first_manifest",
    "format_phrase",
    "next_manifest",
    "parse_link",
    "parse_phrase",
    "safety_number",
    "verify_chain",
    "verify_server",
]
