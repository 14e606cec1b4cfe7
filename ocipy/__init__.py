"""ocipy: an OCI container runtime. See ARCHITECTURE.md for the rooms of this package."""

__version__ = "0.1.0"
SPEC_VERSION = "1.3.0"
