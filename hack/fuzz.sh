#!/usr/bin/env bash
# Copyright The packages-operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# fuzz.sh [PATTERN]: runs every fuzz target whose name, as PACKAGE.FuzzNAME,
# matches PATTERN, for FUZZTIME each (default 10s), one after the other. Inputs
# that fail are kept in the package's testdata/fuzz, where go test runs them too.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fuzztime=${FUZZTIME:-10s}
pattern=${1:-.}
failed=()
ran=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz TARGET PACKAGE: what is found is shortened a little, since to shorten it to
# the end may take all the time. The end of that time sometimes is an error to the
# go command, without anything found: https://go.dev/issue/75804.
fuzz() {
	"${GO:-go}" test -run '^$' -fuzz "^$1\$" -fuzztime "$fuzztime" -fuzzminimizetime 200x "$2" 2>&1 | tee "$log" ||
		{ grep -q '^    context deadline exceeded$' "$log" && ! grep -q 'Failing input written' "$log"; }
}

while IFS=: read -r file declaration; do
	target=${declaration#func }
	target=${target%%(*}
	package=./$(dirname "$file")
	[[ $package.$target =~ $pattern ]] || continue
	ran=$((ran + 1))
	printf '\n--- %s.%s\n' "$package" "$target"
	fuzz "$target" "$package" || failed+=("$package.$target")
done < <(git grep --untracked -E '^func Fuzz[A-Za-z0-9_]*\(f \*testing\.F\)' -- '*_test.go')

if ((ran == 0)); then
	echo "fuzz: no target matches $pattern" >&2
	exit 1
fi
if ((${#failed[@]} > 0)); then
	printf 'fuzz: failed: %s\n' "${failed[@]}" >&2
	exit 1
fi
printf '\nfuzz: %d targets, %s each, nothing found\n' "$ran" "$fuzztime"
