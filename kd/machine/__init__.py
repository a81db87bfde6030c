"""The machine a run is on: its memory, its containers, its devices."""
