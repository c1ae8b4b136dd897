"""fxsched.toml → typed settings. Knows clusters, profiles and accounts; no request, and nothing of FastX."""
