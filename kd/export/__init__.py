"""A student on its way out: files that run where nothing of ours is installed, each verified before it is offered."""
