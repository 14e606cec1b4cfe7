"""systemd as a separate library: units by D-Bus, limits as properties of a unit, and the text form of properties."""
