"""The executable: a C launcher that seals itself and starts Python in its core phase; freezing the hot modules."""
