#!/usr/bin/env bash
# Copyright The packages-operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Prints docker commands for the registry that runs alone on LISTEN with the
# sample objects.
set -euo pipefail
listen=${1:?usage: hack/try.sh LISTEN}
token=sample-only-monalisa-000000000000000000000000000
image=$listen/octocat/octo-app/monalisa:1.0

cat <<END

The registry is at $listen. In another terminal, in this folder:

  echo $token | docker login $listen -u monalisa --password-stdin
  tar -c README.md | docker import - $image
  docker push $image
  docker rmi $image
  docker pull $image

monalisa may write to octocat/octo-app, hubot may read there, octocat owns it;
their tokens are in config/samples/standalone/tokens.yaml. Edit the files there
while the registry runs: changes take effect at once.

END
