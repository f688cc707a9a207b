#!/bin/sh
# Gives the daemon a copy of /etc/posthouse in the folder $1: root runs this before each start and at each reload.
# The folder is root's, and the daemon may only read there: nothing it does can lead root's hand elsewhere.
set -eu
from=/etc/posthouse to=$1
owner=$(stat --dereference --format=%u:%g /var/lib/posthouse)
install -d -m 0711 "$to"
for file in "$to"/*; do
  [ -f "$from/${file##*/}" ] || rm -f "$file"
done
for file in "$from"/*; do
  [ -f "$file" ] || continue
  # Renamed into place, so that nobody reads half a file.
  install -m 0400 -o "${owner%:*}" -g "${owner#*:}" "$file" "$to/.new"
  mv -f "$to/.new" "$to/${file##*/}"
done
[ -f "$to/posthouse.toml" ] || {
  echo "posthouse: $from/posthouse.toml does not exist; make one:  posthouse init --config $from/posthouse.toml" >&2
  exit 1
}
