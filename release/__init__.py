"""Making a release: `make release`, by release/run."""
