#!/usr/bin/env bash
# Copyright The packages-operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the registry alone on the sample objects and shows what to try.
set -euo pipefail
listen=${1:?usage: hack/run.sh LISTEN DATA_DIR}
data_dir=${2:?usage: hack/run.sh LISTEN DATA_DIR}
samples=config/samples/standalone

answers() { (exec 3<>"/dev/tcp/${listen%:*}/${listen##*:}") 2>/dev/null; }

if answers; then
  echo "Something else listens on $listen. Choose another address: make run RUN_LISTEN=127.0.0.1:5001" >&2
  exit 1
fi
mkdir -p "$data_dir"
chmod 0700 "$data_dir"
(
  for _ in $(seq 100); do
    sleep 0.1
    if answers; then
      hack/try.sh "$listen"
      echo "Ctrl-C ends the registry."
      break
    fi
  done
) &
exec bin/packages-operator registry --standalone "$samples" --data-dir "$data_dir" \
  --listen "$listen" --admin-listen 127.0.0.1:0 --log-format text
