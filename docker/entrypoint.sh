#!/bin/sh
# For each NAME_FILE in the environment, NAME becomes what that file holds; then the command runs in this process' place.
set -eu
for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)_FILE=.*/\1/p'); do
  eval "file=\${${name}_FILE}"
  if [ ! -r "$file" ]; then
    echo "${name}_FILE: this file cannot be read by user $(id -u)" >&2
    exit 2
  fi
  export "$name=$(cat "$file")"
done
exec "$@"
