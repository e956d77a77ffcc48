#!/bin/sh
# First start of a stand-in for the official MySQL and MariaDB images: the same variables, the same order of events.
# POSIX sh, because one of the stand-ins has no bash.
set -eu

DATADIR=/var/lib/mysql
SOCKET=/var/run/mysqld/mysqld.sock
TEMPLATE=/usr/local/share/datadir-template

if command -v mariadbd >/dev/null; then
    PRODUCT=mariadb SERVER=mariadbd CLIENT=mariadb
else
    PRODUCT=mysql SERVER=mysqld CLIENT=mysql
fi

note() { printf '[entrypoint] %s\n' "$*"; }

fail() {
    printf '[entrypoint] ERROR: %s\n' "$*" >&2
    exit 1
}

# setting NAME: the value of MARIADB_NAME (MariaDB only) or MYSQL_NAME, or the content of the file named by …_FILE.
setting() {
    for variable in MARIADB_"$1" MYSQL_"$1"; do
        if [ "$PRODUCT" = mysql ] && [ "$variable" = MARIADB_"$1" ]; then continue; fi
        eval "value=\${$variable:-} file=\${${variable}_FILE:-}"
        if [ -n "$value" ] && [ -n "$file" ]; then
            fail "both $variable and ${variable}_FILE are set, they exclude each other"
        fi
        if [ -n "$file" ]; then value=$(cat "$file"); fi
        if [ -n "$value" ]; then
            printf '%s' "$value"
            return
        fi
    done
}

# sql_string TEXT: TEXT as the inside of a '…' literal.
sql_string() { printf '%s' "$1" | sed -e 's/\\/\\\\/g' -e "s/'/''/g"; }

client() { MYSQL_PWD="$ROOT_PASSWORD" "$CLIENT" --no-defaults --socket="$SOCKET" --user=root "$@"; }

# Some options are written into a data directory for good: with them the template does not fit.
template_fits() {
    [ -d "$TEMPLATE" ] || return 1
    for argument in "$@"; do
        case "$argument" in
        --lower[_-]case* | --innodb[_-]page* | --innodb[_-]data* | --innodb[_-]undo* | --innodb[_-]checksum*) return 1 ;;
        esac
    done
}

create_datadir() {
    if template_fits "$@"; then
        # The template holds no identity: the server makes its own at its first start.
        cp -R "$TEMPLATE/." "$DATADIR"
    elif [ "$PRODUCT" = mariadb ]; then
        mariadb-install-db --datadir="$DATADIR" --auth-root-authentication-method=normal \
            --skip-test-db --skip-name-resolve --cross-bootstrap >/dev/null
    else
        "$@" --initialize-insecure --datadir="$DATADIR"
    fi
}

start_temporary_server() {
    note "starting a temporary server"
    "$@" --skip-networking --socket="$SOCKET" &
    temporary=$!
    tries=0
    until ROOT_PASSWORD='' client --execute 'SELECT 1' >/dev/null 2>&1; do
        kill -0 "$temporary" 2>/dev/null || fail "the temporary server ended"
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || fail "the temporary server did not get ready"
        sleep 0.1
    done
}

stop_temporary_server() {
    note "stopping the temporary server"
    kill "$temporary"
    wait "$temporary"
}

# The accounts are this server's own and stay out of its binary log.
accounts_sql() {
    password=$(sql_string "$ROOT_PASSWORD")
    host=$(setting ROOT_HOST)
    host=$(sql_string "${host:-%}")
    cat <<SQL
SET @@SESSION.SQL_LOG_BIN = 0;
ALTER USER 'root'@'localhost' IDENTIFIED BY '$password';
SQL
    if [ "$PRODUCT" = mariadb ]; then
        # mariadb-install-db leaves these two without a password.
        echo "DROP USER IF EXISTS 'root'@'127.0.0.1', 'root'@'::1';"
    fi
    [ "$host" != localhost ] || return 0
    cat <<SQL
CREATE USER 'root'@'$host' IDENTIFIED BY '$password';
GRANT ALL ON *.* TO 'root'@'$host' WITH GRANT OPTION;
SQL
}

database_sql() {
    # shellcheck disable=SC2016  # the backquotes are SQL's
    database=$(setting DATABASE | sed 's/`/``/g')
    # An underscore in a grant is a wildcard.
    pattern=$(printf '%s' "$database" | sed 's/_/\\_/g')
    user=$(sql_string "$(setting USER)")
    password=$(sql_string "$(setting PASSWORD)")
    if [ -n "$database" ]; then
        cat <<SQL
CREATE DATABASE IF NOT EXISTS \`$database\`;
SQL
    fi
    if [ -n "$user" ] && [ -n "$password" ]; then
        cat <<SQL
CREATE USER '$user'@'%' IDENTIFIED BY '$password';
SQL
    fi
    if [ -n "$database" ] && [ -n "$user" ] && [ -n "$password" ]; then
        cat <<SQL
GRANT ALL ON \`$pattern\`.* TO '$user'@'%';
SQL
    fi
}

run_init_files() {
    database=$(setting DATABASE)
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
        *.sql) note "running $file" && client ${database:+"$database"} <"$file" ;;
        *.sql.gz) note "running $file" && gzip -dc "$file" | client ${database:+"$database"} ;;
        *.sh) note "running $file" && sh "$file" ;;
        esac
    done
}

root_password() {
    if [ -n "$(setting RANDOM_ROOT_PASSWORD)" ]; then
        openssl rand -base64 24
    else
        setting ROOT_PASSWORD
    fi
}

first_start() {
    ROOT_PASSWORD=$(root_password)
    if [ -z "$ROOT_PASSWORD" ] &&
        [ -z "$(setting ALLOW_EMPTY_PASSWORD)$(setting ALLOW_EMPTY_ROOT_PASSWORD)" ]; then
        fail "the database is uninitialized and no password option is specified: set one of" \
            "MYSQL_ROOT_PASSWORD, MYSQL_ALLOW_EMPTY_PASSWORD, MYSQL_RANDOM_ROOT_PASSWORD"
    fi
    create_datadir "$@"
    start_temporary_server "$@"
    accounts_sql | ROOT_PASSWORD='' client
    if [ -n "$(setting RANDOM_ROOT_PASSWORD)" ]; then note "GENERATED ROOT PASSWORD: $ROOT_PASSWORD"; fi
    database_sql | client
    run_init_files
    stop_temporary_server
    note "ready for start up"
}

case "${1:-}" in
'' | -*) set -- "$SERVER" "$@" ;;
esac

case "$1" in
mysqld | mariadbd) ;;
*) exec "$@" ;;
esac

if [ "$(id -u)" = 0 ]; then
    find "$DATADIR" ! -user mysql -exec chown mysql:mysql '{}' +
    exec setpriv --reuid=mysql --regid=mysql --init-groups "$0" "$@"
fi

if [ ! -d "$DATADIR/mysql" ]; then first_start "$@"; fi
exec "$@"
