"""The init lane of a plan: everything that runs inside the container's namespaces."""
