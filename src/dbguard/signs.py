"""By what a database server is known before anybody asks it. Pure."""

from __future__ import annotations

import re

DATA_FOLDERS = ("/var/lib/mysql", "/bitnami/mysql", "/bitnami/mariadb", "/config/databases")
"""Where images keep a server's data: Docker's, Bitnami's, linuxserver.io's."""
_IMAGE = re.compile(r"(?:^|[/_-])(?:mysql|mariadb|percona)(?:-server)?(?:[:@_-]|$)", re.IGNORECASE)


def is_server_image(name: str) -> bool:
    return _IMAGE.search(name) is not None


def is_data_folder(path: str) -> bool:
    """Also where it only begins like one: /var/lib/mysql-files."""
    return path.startswith(DATA_FOLDERS)
