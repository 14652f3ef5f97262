// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import "time"

// SetPatience makes requests wait for room no longer than d.
func (h *Handler) SetPatience(d time.Duration) { h.room.patience = d }
