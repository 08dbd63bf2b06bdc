"""Many sessions: read `visitor` (one session), then `sessions` (what is measured)."""
