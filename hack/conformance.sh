#!/usr/bin/env bash
# Copyright The packages-operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# conformance.sh CHECKOUT [FLAG...]: runs the conformance program of a checkout of
# github.com/opencontainers/distribution-spec against the registry alone, with token
# auth and everything switched on, and fails unless every check passes. Flags are the
# registry's, such as those that name a database and a bucket.
set -euo pipefail
checkout=$(cd "${1:?usage: hack/conformance.sh CHECKOUT [FLAG...]}" && pwd)
shift
program=$checkout/conformance
[[ -f $program/go.mod ]] || { echo "no $program/go.mod: name a checkout of github.com/opencontainers/distribution-spec" >&2; exit 2; }

work=$(mktemp -d)
registry=
trap 'if [[ -n $registry ]]; then kill "$registry" && wait "$registry" || true; fi; rm -rf "$work"' EXIT

export CGO_ENABLED=0
go build -o "$work/packages-operator" ./cmd/packages-operator
(cd "$program" && GOFLAGS='' go build -o "$work/conformance" .)

cp -r config/samples/standalone "$work/objects"
sed -i 's/^spec:$/spec:\n  docker: {foreignLayers: Allow, missingReferences: Allow}/' "$work/objects/instance.yaml"
user=octocat
password=$(sed -n 's/^ *password: \(sample-only-octocat-.*\)/\1/p; s/^ *token: \(sample-only-octocat-.*\)/\1/p' "$work/objects/tokens.yaml")

"$work/packages-operator" registry --standalone "$work/objects" --data-dir "$work/data" \
  --listen 127.0.0.1:0 --admin-listen '' --audit-log '' "$@" 2>"$work/log" &
registry=$!
address=
for _ in $(seq 100); do
  address=$(sed -n 's/.*"address":"\(127\.0\.0\.1:[0-9]*\)".*/\1/p' "$work/log")
  [[ -z $address ]] || break
  sleep 0.1
done
[[ -n $address ]] || { cat "$work/log" >&2; exit 1; }

export OCI_REGISTRY=$address OCI_TLS=disabled OCI_REPO1=octocat/octo-app/one OCI_REPO2=octocat/octo-app/two
export OCI_USERNAME=$user OCI_PASSWORD=$password OCI_LOG=error
for switch in BLOBS_DIGEST_HEADER BLOBS_UPLOAD_CANCEL MANIFESTS_DIGEST_HEADER MANIFESTS_TAG_PARAM; do
  export "OCI_API_$switch=true"
done
# The rest is on by default.
export OCI_DATA_SPARSE=true OCI_DATA_NONDISTRIBUTABLE=true

git -C "$checkout" log -1 --format='distribution-spec %h of %cs' 2>/dev/null || true
failed=0
for version in 1.1 dev; do
  OCI_VERSION=$version OCI_RESULTS_DIR=$work/results-$version "$work/conformance" >"$work/output" 2>&1 || failed=1
  counts=$(grep -E '^ *(Skip|Pass|FAIL|Error|Total)\.+:' "$work/output" | tr -d ' ' | sed 's/\.*:/ /' | tr '\n' ' ') || true
  echo "version $version: $counts"
  if [[ $counts != *"Skip 0 "*"FAIL 0 Error 0 "* ]] || grep -q ': *Disabled$' "$work/output"; then
    grep -iE ': *(skip|fail|error|disabled)[a-z]*$' "$work/output" >&2 || cat "$work/output" >&2
    failed=1
  fi
done
exit $failed
