"""systemd as a separate library: units over D-Bus, limits as properties of a unit, and properties as text."""
