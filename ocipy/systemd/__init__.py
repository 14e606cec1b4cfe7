"""systemd as a library of its own: units by D-Bus, limits as properties of a unit, and the form they are written in."""
