"""What the tests of several rooms share: servers, deployments, databases, receivers."""
