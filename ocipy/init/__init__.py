"""All that runs inside the namespaces of the container: the init lane of a plan."""
