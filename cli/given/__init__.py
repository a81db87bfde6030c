"""What users give a command."""
