"""What travels: messages, the wire, sources and sinks, recordings, FITS reads and the simulator."""
