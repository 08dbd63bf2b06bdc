"""The dashboard: pages over one shared selection."""
