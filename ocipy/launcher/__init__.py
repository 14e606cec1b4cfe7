"""The executable: a C launcher that seals itself and starts Python or maps a snapshot; the freezing of hot modules."""
