"""A shim in front of Compose, so that plain `docker compose down -v` is guarded."""
