"""Which ocipy this is, and which version of the OCI runtime specification it follows."""

VERSION = "0.1.0"
SPEC_VERSION = "1.3.0"
