"""The version of ocipy, and the version of the OCI runtime specification that it implements."""

VERSION = "0.1.0"
SPEC_VERSION = "1.3.0"
