// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"context"
	"time"

	"github.com/aws/smithy-go/middleware"
)

// watch puts the observer around everything else that a request goes through.
func (o Observer) watch(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Observe", func(
		ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
	) (middleware.InitializeOutput, middleware.Metadata, error) {
		start := time.Now()
		out, metadata, err := next.HandleInitialize(ctx, in)
		o(stack.ID(), time.Since(start), observed(err))
		return out, metadata, err
	}), middleware.Before)
}

// observed is nil for a storage that answers what it is asked: that there is no such
// object, or that a condition does not hold.
func observed(err error) error {
	if err == nil || refused(err) || missing(err) {
		return nil
	}
	return explain(err)
}
