#!/usr/bin/env bash
# Copyright The packages-operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# tools.sh GROUP...: builds the tools that are missing from the cache, and
# prints for each group the directory with its binaries, one a line.
#
# Every group is a Go module of its own in hack/tools, so that its dependencies
# stay out of the operator's and its versions are pinned. The cache is shared by
# all clones: ${PACKAGES_OPERATOR_CACHE:-${XDG_CACHE_HOME:-~/.cache}/packages-operator}/tools.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PACKAGES_OPERATOR_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/packages-operator}/tools

usage() {
	cat >&2 <<-'TEXT'
		usage: hack/tools.sh GROUP...
		  control-plane   etcd, kube-apiserver, kubectl (what KUBEBUILDER_ASSETS wants)
		  node            kube-controller-manager, kube-scheduler, kubelet, kube-proxy
		  kubectl         kubectl alone
		  traefik         the ingress controller
		  controller-gen  the generator of CRDs, deepcopy functions and apply configurations
		  golangci-lint   the linters
		  versitygw       an S3 server on a directory, for tests
		  distribution    the registry of the CNCF, which make bench measures beside ours
		  crane, regctl, oras, helm3, helm4, cosign
		                  clients of registries, for make clients
		  promql          reads PromQL, for the tests of alerts and dashboards
		  buildkit        buildkitd and buildctl
		  containerd      a newer containerd and ctr than Debian's
		  dockerd         a newer Docker daemon than Debian's
		  flux            Flux's source-controller and kustomize-controller
	TEXT
	exit 2
}

say() { printf 'tools: %s\n' "$*" >&2; }

# describe GROUP: sets module, packages, names (of the outputs where go build
# would choose another), flags, and usual: seconds on 2 cores with nothing
# cached, downloads included.
describe() {
	flags=(-ldflags "-s -w")
	names=()
	local kubernetes=v1.37.0
	case $1 in
	control-plane)
		module=kube usual=450
		packages=(go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl)
		names=(etcd kube-apiserver kubectl)
		flags=(-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes")
		;;
	node)
		module=kube usual=240
		packages=(k8s.io/kubernetes/cmd/{kube-controller-manager,kube-scheduler,kubelet,kube-proxy})
		flags=(-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes")
		;;
	kubectl)
		module=kube usual=100
		packages=(k8s.io/kubernetes/cmd/kubectl)
		flags=(-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes")
		;;
	traefik)
		module=traefik usual=470
		packages=(github.com/traefik/traefik/v3/cmd/traefik)
		;;
	controller-gen)
		module=controller-gen usual=45
		packages=(sigs.k8s.io/controller-tools/cmd/controller-gen)
		;;
	golangci-lint)
		module=golangci-lint usual=300
		packages=(github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
		;;
	versitygw)
		module=versitygw usual=135
		packages=(github.com/versity/versitygw/cmd/versitygw)
		;;
	distribution)
		module=distribution usual=100
		packages=(github.com/distribution/distribution/v3/cmd/registry)
		;;
	crane)
		module=crane usual=20
		packages=(github.com/google/go-containerregistry/cmd/crane)
		;;
	regctl)
		module=regctl usual=20
		packages=(github.com/regclient/regclient/cmd/regctl)
		;;
	oras)
		module=oras usual=20
		packages=(oras.land/oras/cmd/oras)
		;;
	helm3)
		module=helm3 usual=120
		packages=(helm.sh/helm/v3/cmd/helm)
		;;
	helm4)
		module=helm4 usual=120
		packages=(helm.sh/helm/v4/cmd/helm)
		;;
	promql)
		module=promql usual=40
		packages=(.)
		names=(promql)
		;;
	cosign)
		module=cosign usual=300
		packages=(github.com/sigstore/cosign/v3/cmd/cosign)
		;;
	buildkit)
		module=buildkit usual=180
		packages=(github.com/moby/buildkit/cmd/{buildkitd,buildctl})
		;;
	containerd)
		module=containerd usual=120
		packages=(github.com/containerd/containerd/v2/cmd/{containerd,ctr,containerd-shim-runc-v2})
		;;
	dockerd)
		module=dockerd usual=400
		packages=(github.com/moby/moby/v2/cmd/dockerd)
		;;
	flux)
		module=flux usual=420
		packages=(github.com/fluxcd/{source-controller,kustomize-controller})
		;;
	*)
		say "unknown group '$1'"
		usage
		;;
	esac
	if ((${#names[@]} == 0)); then
		names=("${packages[@]##*/}")
	fi
}

clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# build GROUP DIR: compiles into DIR, showing every 10 seconds how far it is.
build() {
	local group=$1 dir=$2 began=$SECONDS log total pid last=0 i
	log=$dir/build.log
	say "building $group (${names[*]}); about $(clock $usual) on 2 cores with an empty cache, at once from the cache next time"
	cd "$here/tools/$module"
	say "$group: downloading modules and counting packages …"
	total=$(go list -deps "${packages[@]}" 2>"$log" | wc -l) || {
		tail -n 20 "$log" >&2
		say "$group: its modules cannot be loaded (see above). Is the Go module proxy reachable? GOPROXY=$(go env GOPROXY)"
		return 1
	}
	: >"$log"
	set -m # a process group of its own, so that all of it can be ended
	for i in "${!packages[@]}"; do
		go build -v "${flags[@]}" -o "$dir/${names[i]}" "${packages[i]}" || exit 1
	done 2>>"$log" &
	pid=$!
	set +m
	trap 'kill -- "-$pid" 2>/dev/null; exit 130' INT TERM
	while kill -0 "$pid" 2>/dev/null; do
		if ((SECONDS - last >= 10)); then
			last=$SECONDS
			say "$group: $(clock $((SECONDS - began))) elapsed, $(wc -l <"$log") packages compiled (of at most $total; those in Go's cache are not counted)"
		fi
		sleep 0.2
	done
	if ! wait "$pid"; then
		grep -v '^[a-z0-9./_-]*$' "$log" | tail -n 20 >&2 || true
		say "$group: go build failed (see above)"
		return 1
	fi
	rm -f "$log"
	say "$group: built in $(clock $((SECONDS - began)))"
}

# provide GROUP: prints the group's directory, filling it first if need be.
provide() {
	local group=$1 key dir temp
	describe "$group"
	key=$({
		cat "$here/tools/$module"/*
		go env GOVERSION GOARCH
		echo "${packages[*]} ${names[*]} ${flags[*]}"
	} | sha256sum | cut -c1-12)
	dir=$cache/$group-$key
	if [[ ! -d $dir ]]; then
		mkdir -p "$cache"
		# One build at a time: two would only share the same cores.
		exec 9>"$cache/lock"
		if ! flock --nonblock 9; then
			say "another clone or command is building tools; waiting for it"
			flock 9
		fi
		if [[ ! -d $dir ]]; then
			rm -rf "$cache"/.building-* # left by an interrupted build: we hold the lock
			temp=$(mktemp -d "$cache/.building-XXXXXX")
			if ! (build "$group" "$temp"); then
				rm -rf "$temp"
				return 1
			fi
			chmod 755 "$temp"
			mv -T "$temp" "$dir"
		fi
		exec 9>&-
	fi
	echo "$dir"
}

(($# > 0)) || usage
for group in "$@"; do describe "$group"; done
command -v go >/dev/null || {
	say "the Go toolchain is missing: install Go (the version is in go.mod) and try again"
	exit 1
}
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
for group in "$@"; do provide "$group"; done
