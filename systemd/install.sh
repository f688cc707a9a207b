#!/bin/sh
# Puts Posthouse on a server with systemd (tried on Debian 12 and 13). As root, in the unpacked project:
#
#   sh systemd/install.sh install [--listen ADDRESS]   the first time, and again at any time
#   sh systemd/install.sh upgrade                      the release in this folder takes the place of the running one
#   sh systemd/install.sh rollback                     back to the release before
#   sh systemd/install.sh status
#   sh systemd/install.sh uninstall [--purge]          --purge: config and database too
#
# Rule 1: until a new release has answered GET /healthz, whatever is on the disk is the old one's: the trial is a unit under
#         /run, which goes before the one under /etc and is gone after a power cut.
# Rule 2: what fails ends with one sentence, the old release serving, and exit 1. An unready pool is no failure.
# Rule 3: the config and the database are never overwritten, and removed by `uninstall --purge` alone.
set -eu
umask 022
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin"
unset PYTHONPATH PYTHONHOME

ROOT=/opt/posthouse
CONFIG=/etc/posthouse/posthouse.toml
STATE=/var/lib/posthouse
UNITS=/etc/systemd/system
TRIAL=/run/systemd/system.control # before /etc in systemd's order, see systemd.unit(5)
COMMAND=/usr/local/bin/posthouse
KEPT=3                # releases
SPACE_KB=400000       # a release takes a third of it
HEALTHY_SECONDS=15    # for GET /healthz after READY
STEADY_SECONDS=2      # and no crash for so long
NEEDED="requirements.txt daemon/__main__.py daemon/templates daemon/sqlite/migrations proxy/__init__.py bot/__init__.py
  static/status.css docs/operations.md systemd/posthouse.service systemd/posthouse.socket systemd/posthouse-backup.service
  systemd/posthouse-backup.timer systemd/hand-over.sh systemd/back-up.sh systemd/healthz.py systemd/install.sh"

say() { printf '%s\n' "$*"; }
fail() {
  printf 'posthouse: %s\n' "$*" >&2
  exit 1
}

main() {
  command=${1:-}
  [ $# -gt 0 ] && shift
  listen='' purge=''
  while [ $# -gt 0 ]; do
    case "$command $1" in
      "install --listen") [ $# -gt 1 ] || usage; listen=$2; shift ;;
      "uninstall --purge") purge=yes ;;
      *) usage ;;
    esac
    shift
  done
  case $command in
    install | upgrade | rollback | uninstall) only_root_and_alone ;;
    status) ;;
    *) usage ;;
  esac
  "do_$command"
}

usage() {
  sed -n '4,8s/^# *//p' "$0" >&2
  exit 2
}

only_root_and_alone() {
  [ "$(id -u)" -eq 0 ] || fail "this needs root; run:  sudo sh $0 $command"
  [ -d /run/systemd/system ] || fail "systemd does not run this machine, so there is nothing to install into"
  mkdir -p "$ROOT"
  exec 9>"$ROOT/.lock"
  flock --nonblock 9 || fail "another install.sh is at work on this machine; wait for it to end"
}

do_install() {
  source=$(cd "$(dirname "$0")/.." && pwd)
  old=$(current)
  case ${listen##*:} in
    /* | '') ;;
    *[!0-9]*) fail "--listen takes a port, HOST:PORT or the path of a unix socket, not $listen" ;;
  esac
  [ -z "$old" ] || [ -z "$listen" ] ||
    fail "it is installed already; to move it, change server.listen in $CONFIG and ListenStream= (systemctl edit posthouse.socket)"
  the_source_is_whole
  find_python
  [ -n "$old" ] || the_place_is_free
  build
  write_config
  put "$release"
}

do_upgrade() {
  [ -n "$(current)" ] || fail "nothing is installed here yet; run:  sh $0 install"
  do_install
}

do_rollback() {
  old=$(current)
  [ -n "$old" ] || fail "nothing is installed here"
  release=$(cat "$old/replaced" 2>/dev/null || :)
  is_complete "$release" || fail "there is no release before $(name_of "$old") on this machine"
  say "Going back from $(name_of "$old") to $(name_of "$release")"
  put "$release"
}

# ---- a release ------------------------------------------------------------------------------------------------------------

current() { readlink --canonicalize-existing "$ROOT/current" || :; }
name_of() { printf '%s (%s)' "$(cat "$1/version")" "${1##*/}"; }
is_complete() { [ -n "$1" ] && [ -e "$1/complete" ]; }

the_source_is_whole() {
  for needed in $NEEDED; do
    [ -e "$source/$needed" ] || fail "this copy of Posthouse is not whole: $needed is missing in $source; copy it again"
  done
}

find_python() {
  # The unit sees no home, so a Python of pyenv or conda would not be there for it.
  python=${PYTHON:-/usr/bin/python3}
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null || [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
    command -v apt-get >/dev/null || fail "$python cannot make virtual environments, and there is no apt-get to mend that"
    say "Installing python3-venv ..."
    log=$(mktemp)
    # The lists may be missing or old: then they are fetched, and it is tried once more.
    if ! { get_python || { apt-get -qq -o Acquire::Languages=none update && get_python; }; } >"$log" 2>&1 9>&-; then
      tail -n 5 "$log" >&2
      rm -f "$log"
      fail "apt-get could not install python3-venv (its words are above); nothing has changed"
    fi
    rm -f "$log"
  fi
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or later is needed, and $python is $("$python" -V 2>&1); name another one:  PYTHON=/usr/bin/python3.12 sh $0 $command"
  case $(readlink --canonicalize "$python") in
    /home/* | /root/* | /run/user/*) fail "$python is in a home, which the service cannot see; name another one with PYTHON=" ;;
  esac
}

# Before anything is downloaded. Until the first install, nobody but another program can be there.
the_place_is_free() {
  systemctl --quiet is-active posthouse.socket && return 0
  "$python" -c '
import socket, sys
host, _, port = sys.argv[1].removeprefix("unix:").rpartition(":")
if port.isdecimal():
    family = socket.AF_INET6 if "[" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), int(port)))
        listener.listen(1)
' "$(as_listen "${listen:-80}")" 2>/dev/null || cannot_listen
}

cannot_listen() {
  port=${listen##*:}
  port=${port:-80}
  if command -v ss >/dev/null; then
    ss -Hltnp "sport = :$port" 2>/dev/null | sed 's/^/  /' >&2
  fi
  fail "${listen:-port 80} cannot be listened on; another program has it (see above): stop that, or choose another:  sh $0 install --listen 8080"
}

get_python() {
  apt-get -qq -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends python3 python3-venv ca-certificates
}

# The folder counts as a release when its file `complete` is there, and that is written last.
build() {
  for leftover in "$ROOT"/releases/*; do
    [ ! -d "$leftover" ] || is_complete "$leftover" || rm -rf "$leftover"
  done
  free=$(df -Pk "$ROOT" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$SPACE_KB" ] ||
    fail "$ROOT has $((free / 1000)) MB left, and a release needs $((SPACE_KB / 1000)); nothing has changed"
  release="$ROOT/releases/$(date -u +%Y%m%dT%H%M%SZ)"
  mkdir -p "$ROOT/releases"
  mkdir "$release" || fail "$release is there already; try again in a second"
  trap 'rm -rf "$release"' EXIT
  trap 'exit 1' HUP INT TERM
  say "Building ${release##*/} with $("$python" -V) ..."
  build_into "$release" >"$release/build.log" 2>&1 || {
    tail -n 12 "$release/build.log" >&2
    fail "the release could not be built (the last words are above); ${old:+the old one still serves, and }nothing has changed"
  }
}

build_into() {
  packages_into "$1" &&
    modules=$("$1/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') &&
    # As in the wheel: three packages, with static/ as data of `daemon`.
    rm -rf "$modules/daemon" "$modules/proxy" "$modules/bot" &&
    cp -R "$source/daemon" "$source/proxy" "$source/bot" "$modules/" &&
    cp -R "$source/static" "$modules/daemon/static" &&
    find "$modules/daemon" "$modules/proxy" "$modules/bot" -name __pycache__ -prune -exec rm -rf {} + &&
    cp -R "$source/docs" "$source/systemd" "$source/requirements.txt" "$1/" &&
    printf '#!%s -P\nfrom daemon.__main__ import main\n\nmain()\n' "$1/venv/bin/python" >"$1/venv/bin/posthouse" &&
    chmod -R u=rwX,go=rX "$1" &&
    chmod 755 "$1/venv/bin/posthouse" &&
    "$1/venv/bin/python" -m compileall -q -j 0 "$modules" &&
    every_module_loads "$1" &&
    "$1/venv/bin/python" -P -c 'from daemon import __version__; print(__version__)' >"$1/version" &&
    sync -f "$1" &&
    touch "$1/complete" &&
    sync -f "$1"
}

# The locked packages with their hashes; those of the release before where neither the lock nor Python has changed.
packages_into() {
  if [ -n "$old" ] && cmp -s "$source/requirements.txt" "$old/requirements.txt" && [ "$(who "$old/venv/bin/python")" = "$(who "$python")" ]; then
    cp -a --reflink=auto "$old/venv" "$1/venv"
    return
  fi
  "$python" -m venv "$1/venv" &&
    # The lock is complete: without --no-deps pip would read what each package needs only to find that.
    "$1/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-compile --only-binary :all: --no-deps \
      --require-hashes --requirement "$source/requirements.txt"
}

who() { "$1" -c 'import sys; print(sys.version, sys.base_prefix)'; }

# A file that did not arrive is found now and not by a caller.
every_module_loads() {
  "$1/venv/bin/python" -P -c '
import importlib, pkgutil
for room in ("proxy", "bot", "daemon"):
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(package.__path__, room + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
'
}

write_config() {
  [ ! -e "$CONFIG" ] || return 0
  install -d -m 0755 "${CONFIG%/*}"
  say "Writing the config:"
  # It gets its name when it is whole.
  rm -f "$CONFIG.new"
  "$release/venv/bin/posthouse" init --yes --config "$CONFIG.new" --listen "$(as_listen "${listen:-80}")" 2>&1 |
    sed -e "s#$CONFIG.new#$CONFIG#" -e 's/^/  /'
  [ -s "$CONFIG.new" ] || fail "the config could not be written; nothing has changed"
  sed -i "/^\[server\]/a database = \"sqlite:$STATE/posthouse.db\"" "$CONFIG.new"
  mv "$CONFIG.new" "$CONFIG"
  say "Keep what is printed above: the token is shown this once."
}

# systemd says 80 or 127.0.0.1:8080 or /path, the config 0.0.0.0:80 or 127.0.0.1:8080 or unix:/path.
as_listen() {
  case $1 in
    /*) printf 'unix:%s' "$1" ;;
    *:*) printf '%s' "$1" ;;
    *) printf '0.0.0.0:%s' "$1" ;;
  esac
}

# ---- from one release to another ------------------------------------------------------------------------------------------

# $1 takes the place of $old, or everything is as before and this fails. Without $old there is nothing to go back to.
put() {
  version_before=''
  [ ! -d "$STATE" ] || version_before=$(schema)
  rehearse "$1"
  [ -z "$version_before" ] || save "$1"
  has_stopped=''
  trap back EXIT
  trap 'exit 1' HUP INT TERM
  unit_of "$1" >"$TRIAL/posthouse.service"
  open_socket "$1"
  began=$(date +%s)
  say "Starting $(name_of "$1") ..."
  has_stopped=yes # the old process
  systemctl restart posthouse.service 2>/dev/null || { why; fail "$(name_of "$1") does not start (its words are above)"; }
  is_well "$1" || { why; fail "$(name_of "$1") started, but does not serve (its words are above)"; }
  settle "$1"
  say "Posthouse $(name_of "$1") serves on $(listening | tr '\n' ' ')"
}

# The unit of the release itself, not of whatever `current` is meanwhile.
unit_of() { sed "s#/opt/posthouse/current/#$1/#g" "$1/systemd/posthouse.service"; }

# The config is checked by the new release as the unit would run it (its user, its sandbox, its environment), beside the old one.
rehearse() {
  mkdir -p "$TRIAL"
  unit_of "$1" | sed -e 's/^Type=.*/Type=oneshot/' -e 's/^Restart=.*/Restart=no/' -e 's#/run/posthouse-config#/run/posthouse-check#' \
    -e 's/ daemon serve$/ daemon check/' -e '/^WatchdogSec=/d' -e '/^ExecReload=/d' \
    -e '/^Requires=posthouse.socket/d' -e '/^NotifyAccess=/d' >"$TRIAL/posthouse-check.service"
  rm -rf "$TRIAL/posthouse-check.service.d"
  # What `systemctl edit posthouse` added, credentials and variables above all, holds here too.
  [ ! -d "$UNITS/posthouse.service.d" ] || cp -R "$UNITS/posthouse.service.d" "$TRIAL/posthouse-check.service.d"
  systemctl daemon-reload
  began=$(date +%s) outcome=0
  if systemctl start posthouse-check.service 2>/dev/null; then
    words posthouse-check.service _SYSTEMD_UNIT=posthouse-check.service
  else
    outcome=1
    words posthouse-check.service
  fi
  rm -rf "$TRIAL/posthouse-check.service" "$TRIAL/posthouse-check.service.d"
  systemctl daemon-reload
  systemctl reset-failed posthouse-check.service 2>/dev/null || :
  [ "$outcome" -eq 0 ] ||
    fail "$CONFIG is not well for this release (see above); mend it and run this again${old:+; the old release still serves}"
}

open_socket() {
  if [ -n "$listen" ]; then
    mkdir -p "$UNITS/posthouse.socket.d"
    printf '[Socket]\nListenStream=\nListenStream=%s\n' "$listen" >"$UNITS/posthouse.socket.d/listen.conf"
  fi
  place "$1/systemd/posthouse.socket"
  systemctl daemon-reload
  # One that is open stays open: closing it would turn away who waits there.
  if ! systemctl --quiet is-active posthouse.socket; then
    systemctl start posthouse.socket 2>/dev/null || cannot_listen
  fi
}

is_well() {
  # shellcheck disable=SC2046 # one address a word
  "$1/venv/bin/python" -P "$1/systemd/healthz.py" "$HEALTHY_SECONDS" $(listening) || return 1
  before=$(systemctl show --property=MainPID --value posthouse.service)
  sleep "$STEADY_SECONDS"
  [ "$(systemctl show --property=MainPID --value posthouse.service)" = "$before" ]
}

listening() { systemctl show --property=Listen --value posthouse.socket | awk '{ print $1 }'; }

# From here on the new release is the one that a boot starts.
settle() {
  [ -z "$old" ] || [ "$old" = "$1" ] || [ "$command" = rollback ] || printf '%s\n' "$old" >"$1/replaced"
  for unit in posthouse.service posthouse-backup.service posthouse-backup.timer; do
    place "$1/systemd/$unit"
  done
  sync -f "$ROOT"
  ln -sfn "$1" "$ROOT/current.new"
  mv -T "$ROOT/current.new" "$ROOT/current"
  sync -f "$ROOT"
  trap - EXIT
  # The copy is of use only where an older program could not read what the database is now.
  if [ -n "$version_before" ] && [ "$(schema)" != "$version_before" ]; then
    mv "$1/saved.db" "$1/before.db"
  fi
  rm -f "$1/saved.db"
  rm -f "$TRIAL/posthouse.service"
  ln -sfn "$ROOT/current/venv/bin/posthouse" "$COMMAND"
  systemctl daemon-reload
  systemctl --quiet enable posthouse.socket posthouse.service posthouse-backup.timer
  systemctl start posthouse-backup.timer
  prune "$1"
}

# Reached when `put` ends before its end.
back() {
  trap - EXIT
  set +e
  rm -f "$TRIAL/posthouse.service"
  systemctl daemon-reload
  if [ -z "$old" ]; then
    systemctl stop posthouse.socket posthouse.service 2>/dev/null
    rm -rf "$UNITS/posthouse.socket" "$release"
    [ -z "$listen" ] || rm -rf "$UNITS/posthouse.socket.d"
    systemctl daemon-reload
    printf 'posthouse: nothing served here before, and nothing does now; %s stays as it is\n' "$CONFIG" >&2
    exit 1
  fi
  for unit in posthouse.service posthouse.socket posthouse-backup.service posthouse-backup.timer; do
    place "$old/systemd/$unit"
  done
  systemctl daemon-reload
  if [ -z "$has_stopped" ]; then
    [ "$command" = rollback ] || rm -rf "$release"
    exit 1
  fi
  if [ -n "$version_before" ] && [ "$(schema)" != "$version_before" ]; then
    systemctl stop posthouse.socket posthouse.service 2>/dev/null
    restore "$release/saved.db"
    printf 'posthouse: the new release had changed the database; it is as it was before the attempt\n' >&2
  fi
  began=$(date +%s)
  systemctl start posthouse.socket
  systemctl restart posthouse.service
  if is_well "$old"; then
    printf 'posthouse: rolled back; %s serves again\n' "$(name_of "$old")" >&2
  else
    why
    printf 'posthouse: %s does not serve again either; see:  journalctl -u posthouse -n 50\n' "$(name_of "$old")" >&2
  fi
  [ "$command" = rollback ] || rm -rf "$release"
  exit 1
}

# A file gets its name when it is whole.
place() {
  cmp -s "$1" "$UNITS/${1##*/}" && return 0
  install -m 0644 "$1" "$UNITS/.${1##*/}.new"
  mv "$UNITS/.${1##*/}.new" "$UNITS/${1##*/}"
}

# The way back from $1 stays first, then what is newest.
prune() {
  keep=$1 next=$1 count=1
  while [ "$count" -lt "$KEPT" ] && next=$(cat "$next/replaced" 2>/dev/null) && is_complete "$next"; do
    keep="$keep $next" count=$((count + 1))
  done
  for each in $(printf '%s\n' "$ROOT"/releases/* | sort -r); do
    case " $keep " in
      *" $each "*) ;;
      *)
        if [ "$count" -lt "$KEPT" ]; then
          count=$((count + 1))
        else
          rm -rf "$each"
        fi
        ;;
    esac
  done
}

# ---- the database ---------------------------------------------------------------------------------------------------------

ask_database() {
  STATE_DIRECTORY=$STATE POSTHOUSE_CONFIG=$CONFIG "$release/venv/bin/python" -P -c "
import sqlite3
from daemon import config
path = config.glance(config.find(None)).database
$1"
}

database() { ask_database 'print(path)'; }

# The number of its last migration; nothing where there is no database.
schema() {
  ask_database '
if path.is_file():
    print(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True).execute("PRAGMA user_version").fetchone()[0])
' 2>/dev/null || :
}

save() {
  rm -f "$1/saved.db"
  (
    umask 077
    STATE_DIRECTORY=$STATE POSTHOUSE_CONFIG=$CONFIG "$release/venv/bin/posthouse" backup "$1/saved.db" >/dev/null
  ) || fail "the database could not be saved before the change (see above)"
}

restore() {
  place=$(database)
  rm -f "$place-wal" "$place-shm"
  install -m 0600 -o "$(stat -c %u "$place")" -g "$(stat -c %g "$place")" "$1" "$place.new"
  mv "$place.new" "$place"
}

# ---- what there is to say -------------------------------------------------------------------------------------------------

# What was said about the unit $1 since $began; with a second word, what matches that.
words() {
  journalctl --sync 2>/dev/null || :
  journalctl --since "@$began" --output cat --lines 15 --no-pager --quiet "${2:---unit=$1}" 2>/dev/null |
    sed -e 's#/run/posthouse-c[a-z]*/#/etc/posthouse/#' -e 's/^/  /' >&2
}

why() { words posthouse.service; }

do_status() {
  now=$(current)
  [ -n "$now" ] || fail "nothing is installed here"
  say "release   $(name_of "$now")"
  for each in "$ROOT"/releases/*; do
    [ "$each" = "$now" ] || ! is_complete "$each" || say "on disk   $(name_of "$each")"
  done
  state=$(systemctl show --property=ActiveState --value posthouse.service)
  say "unit      $state since $(systemctl show --property=ActiveEnterTimestamp --value posthouse.service), restarted by systemd $(systemctl show --property=NRestarts --value posthouse.service) times"
  say "listens   $(listening | tr '\n' ' ')"
  [ "$state" = active ] || fail "the service does not run; see:  journalctl -u posthouse -n 50"
  # shellcheck disable=SC2046 # one address a word
  "$now/venv/bin/python" -P "$now/systemd/healthz.py" 5 $(listening) || fail "the service runs, but does not answer"
  say "healthz   200"
}

do_uninstall() {
  systemctl --quiet disable --now posthouse-backup.timer posthouse.socket posthouse.service 2>/dev/null || :
  for unit in posthouse.service posthouse.socket posthouse-backup.service posthouse-backup.timer; do
    rm -f "$UNITS/$unit" "$TRIAL/$unit"
  done
  systemctl daemon-reload
  rm -rf "$ROOT" "$COMMAND" /run/posthouse-config
  if [ -n "$purge" ]; then
    rm -rf "${CONFIG%/*}" "$STATE" /var/lib/private/posthouse "$UNITS/posthouse.socket.d" "$UNITS/posthouse.service.d"
    say "Removed, with its config and its database."
  else
    say "Removed. ${CONFIG%/*} and $STATE stay; uninstall --purge removes them too."
  fi
}

main "$@"
