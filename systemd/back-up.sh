#!/bin/sh
# One copy of the database into /var/lib/posthouse/backups, checked by the program that makes it; the seven newest stay.
set -eu
cd /var/lib/posthouse
mkdir -p backups
/opt/posthouse/current/venv/bin/python -P -m daemon backup "backups/posthouse-$(date -u +%Y%m%dT%H%M%SZ).db"
# The names sort by time.
set -- backups/posthouse-*.db
while [ $# -gt 7 ]; do
  rm -f "$1"
  shift
done
