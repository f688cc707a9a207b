"""The operator's page, its sign-in, and the probes: what a person and a load balancer may see of the daemon."""
