"""Files of jobs: where they are, who may have them, when they go."""
