"""The instrument as a stream: scene, detector, telemetry, sequence, and the truth that was put in."""
