"""Where it runs: settings from the environment, embedded services, Ray, Serve, the `hyvve` command."""
