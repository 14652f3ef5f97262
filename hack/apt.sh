#!/usr/bin/env bash
# Copyright The packages-operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# apt.sh SET...: installs the programs of the sets that are missing, from
# Debian packages. It goes by the programs, not by the packages, so that a
# machine that has them from elsewhere (containerd.io, docker-ce) stays as it
# is; it removes no package and starts no service.

set -euo pipefail

usage() {
	cat >&2 <<-'TEXT'
		usage: hack/apt.sh SET...
		  node      containerd, runc, CNI plugins, iptables, conntrack, socat, iproute2
		  docker    a Docker daemon and its command line
		  race      a C compiler, for go test -race
		  clients   skopeo and the docker command line
		  postgresql a PostgreSQL server, for tests that start it themselves
	TEXT
	exit 2
}

say() { printf 'apt: %s\n' "$*" >&2; }

# needs SET: prints "program package" lines. A program with a slash is a file, or
# a pattern of files.
needs() {
	case $1 in
	node)
		printf '%s\n' "containerd containerd" "ctr containerd" "containerd-shim-runc-v2 containerd" "runc runc" \
			"iptables iptables" "conntrack conntrack" "socat socat" "ip iproute2" "nsenter util-linux"
		[[ -x /opt/cni/bin/ptp ]] || echo "/usr/lib/cni/ptp containernetworking-plugins"
		;;
	docker)
		# From Debian 13 on, the command line is a package of its own.
		if [[ -n $(apt-cache show docker-cli 2>/dev/null) ]]; then
			printf '%s\n' "dockerd docker.io" "docker docker-cli"
		else
			printf '%s\n' "dockerd docker.io" "docker docker.io"
		fi
		;;
	race) printf '%s\n' "gcc gcc" "/usr/include/stdlib.h libc6-dev" ;;
	clients)
		echo "skopeo skopeo"
		needs docker | grep '^docker '
		;;
	postgresql)
		# Debian keeps the programs of each version out of PATH.
		if command -v initdb >/dev/null; then
			echo "initdb postgresql"
		else
			echo "/usr/lib/postgresql/*/bin/initdb postgresql"
		fi
		;;
	*)
		say "unknown set '$1'"
		usage
		;;
	esac
}

present() {
	if [[ $1 == */* ]]; then compgen -G "$1" >/dev/null; else command -v "$1" >/dev/null; fi
}

# Debian's package scripts start services unless this file says no.
policy=/usr/sbin/policy-rc.d
marker="# made by hack/apt.sh of packages-operator, removed when it ends"

guard() {
	[[ -e $policy ]] && ! grep -qxF "$marker" "$policy" && return
	printf '#!/bin/sh\n%s\nexit 101\n' "$marker" >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
}

(($# > 0)) || usage
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

declare -A packages=()
missing=()
for set in "$@"; do
	list=$(needs "$set")
	while read -r program package; do
		if ! present "$program"; then
			missing+=("$program")
			packages[$package]=1
		fi
	done <<<"$list"
done
((${#missing[@]} > 0)) || exit 0

if ! command -v apt-get >/dev/null; then
	say "missing: ${missing[*]}. This is no Debian-like system, so install them yourself (Debian's packages: ${!packages[*]}) and try again"
	exit 1
fi
if ((EUID != 0)); then
	say "missing: ${missing[*]}. Run as root, or: sudo apt-get install --no-install-recommends ${!packages[*]}"
	exit 1
fi

# One installation at a time: dpkg's own lock does not cover the guard.
exec 8>/run/lock/packages-operator-apt
flock 8
guard
say "installing ${!packages[*]} (for ${missing[*]}); no service is started"
export DEBIAN_FRONTEND=noninteractive
install=(apt-get install --yes --quiet --no-install-recommends --no-remove -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
if ! "${install[@]}" "${!packages[@]}" >&2; then
	say "trying again with fresh package lists"
	apt-get update --quiet >&2
	"${install[@]}" "${!packages[@]}" >&2
fi
for program in "${missing[@]}"; do
	present "$program" || {
		say "$program is still missing after the installation of ${!packages[*]}"
		exit 1
	}
done
