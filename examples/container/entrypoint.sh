#!/bin/sh
# Makes each file OSS_... in /run/secrets, or in the folder SECRETS_DIR, a variable of the same name. Then it becomes
# oss-wsgi, which gets the container's signals itself.
set -eu

refuse() {
    echo "oss-wsgi-entrypoint: $1" >&2
    exit 2
}

for file in "${SECRETS_DIR:-/run/secrets}"/OSS_*; do
    [ -e "$file" ] || continue
    name=${file##*/}
    case $name in
    *[!A-Z0-9_]*) refuse "$file: the file's name is no variable's name: use capital letters, digits and _ only." ;;
    esac
    if eval "[ -n \"\${$name:-}\" ]"; then
        refuse "$name is set as a variable and as the file $file: remove one of them."
    fi
    value=$(cat "$file") || refuse "$file cannot be read by user $(id -u): make it readable for this user."
    export "$name=$value"
done
unset SECRETS_DIR
exec oss-wsgi "$@"
