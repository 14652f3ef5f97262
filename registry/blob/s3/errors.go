// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/packages-operator/packages-operator/registry/blob"
)

// ErrOtherInstance is returned by Open when the data is another instance's.
var ErrOtherInstance = errors.New("data belongs to another instance")

// errBucket is in errors about a bucket that is missing.
var errBucket = errors.New("the bucket does not exist")

// objectError says what failed and with which object, in the storage's own words
// but without the request, which is of no use to a reader and was signed.
func objectError(action, key string, err error) error {
	return fmt.Errorf("%s object %s: %w", action, key, explain(err))
}

// explain turns an error of the SDK into a cause: blob.ErrNotFound,
// blob.ErrNoSpace, blob.ErrUnavailable, the context's, or a sentence.
func explain(err error) error {
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: it did not answer in time: %w", blob.ErrUnavailable, context.DeadlineExceeded)
	}
	code, message, status := answer(err)
	switch code {
	case "NoSuchBucket":
		return errBucket
	case "NoSuchKey", "NoSuchUpload", "NotFound":
		return blob.ErrNotFound
	case "QuotaExceeded", "EntityTooLarge", "InsufficientStorage", "InsufficientCapacity", "StorageFull",
		"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceededException":
		return fmt.Errorf("%w: the storage says %s", blob.ErrNoSpace, code)
	}
	switch {
	case status == http.StatusNotFound && (code == "" || code == "UnknownError"):
		return blob.ErrNotFound
	case status == http.StatusInsufficientStorage:
		return fmt.Errorf("%w: the storage answered 507", blob.ErrNoSpace)
	}
	if busy(code, status) {
		return fmt.Errorf("%w: it answered %d %s %s", blob.ErrUnavailable, status, code, message)
	}
	if code != "" {
		return fmt.Errorf("the storage says %s: %s", code, message)
	}
	if status != 0 {
		return fmt.Errorf("the storage answered %d", status)
	}
	if unreachable(err) {
		return fmt.Errorf("%w: %w", blob.ErrUnavailable, rootCause(err))
	}
	return rootCause(err)
}

// busy reports whether the storage answered that it cannot answer.
func busy(code string, status int) bool {
	switch code {
	case "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted", "TooManyRequests", "Throttling", "RequestLimitExceeded":
		return true
	}
	return status >= http.StatusInternalServerError && status != http.StatusNotImplemented || status == http.StatusTooManyRequests
}

// unreachable reports whether a connection could not be made, or broke.
func unreachable(err error) bool {
	var (
		sending *smithyhttp.RequestSendError
		network net.Error
	)
	return errors.As(err, &sending) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF)
}

// answer is what the storage answered, or nothing if it did not.
func answer(err error) (code, message string, status int) {
	if response := (*awshttp.ResponseError)(nil); errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	if api := smithy.APIError(nil); errors.As(err, &api) {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	return code, message, status
}

// answered reports whether the storage refused a request for good.
func answered(err error) bool {
	code, _, status := answer(err)
	return code != "" && code != "InternalError" && code != "SlowDown" && status < http.StatusInternalServerError
}

// refused reports whether a condition (If-Match, If-None-Match) did not hold, now
// or because another request was just changing it.
func refused(err error) bool {
	code, _, status := answer(err)
	return status == http.StatusPreconditionFailed || code == "ConditionalRequestConflict" || code == "PreconditionFailed"
}

// missing reports whether there is no such object or upload.
func missing(err error) bool { return errors.Is(explain(err), blob.ErrNotFound) }

// rootCause is what is inside the SDK's and net/http's layers, which name the
// operation and the URL.
func rootCause(err error) error {
	if api := smithy.APIError(nil); errors.As(err, &api) {
		return fmt.Errorf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	}
	for {
		var (
			operation *smithy.OperationError
			sending   *smithy.CanceledError
			request   *url.Error
		)
		switch {
		case errors.As(err, &request):
			err = request.Err
		case errors.As(err, &operation):
			err = operation.Err
		case errors.As(err, &sending):
			err = sending.Err
		default:
			return err
		}
	}
}

// explainStart is explain for the first requests, at which the settings show to be
// wrong: it names the setting.
func explainStart(err error) error {
	code, message, status := answer(err)
	switch code {
	case "NoSuchBucket":
		return errors.New("there is no such bucket (--s3-bucket); make it, or correct the name")
	case "InvalidAccessKeyId", "XAdminUserNotFound":
		return errors.New("the storage does not know the access key (AWS_ACCESS_KEY_ID, or what the default chain found)")
	case "SignatureDoesNotMatch":
		return errors.New("the storage refuses the signature: the secret key (AWS_SECRET_ACCESS_KEY) does not belong to the access key, or the region (--s3-region) is another")
	case "ExpiredToken":
		return errors.New("the credentials have expired")
	case "RequestTimeTooSkewed":
		return errors.New("the storage refuses the request's time: this machine's clock is wrong")
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException":
		return fmt.Errorf("the bucket is in another region (--s3-region), the storage says: %s", message)
	}
	if code == "AccessDenied" || status == http.StatusForbidden {
		return errors.New("the credentials may not use the bucket: they need to list, read, write and delete objects, and to list and abort multipart uploads")
	}
	if status == http.StatusMovedPermanently {
		return errors.New("the bucket is in another region (--s3-region)")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the storage cannot be reached in time (--s3-endpoint): %w", context.DeadlineExceeded)
	}
	if code == "" && status == 0 && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("the storage cannot be reached (--s3-endpoint): %w", rootCause(err))
	}
	return explain(err)
}
