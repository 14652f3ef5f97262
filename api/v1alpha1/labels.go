// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Labels that the operator puts on what it makes. Watches and caches select by
// them.
const (
	// LabelInstance is on every object made for a PackagesInstance, with its name.
	LabelInstance = GroupName + "/instance"
	// LabelToken is on the Secret made for a PackagesToken, with its name.
	LabelToken = GroupName + "/token"
)

// Annotations of a token's Secret. The Secret is the record of the token: from
// them a lost status is restored. Instants are RFC 3339, in UTC.
const (
	// AnnotationCredentialID is the id of the value.
	AnnotationCredentialID = GroupName + "/credential-id"
	// AnnotationIssuedAt is when the value was made.
	AnnotationIssuedAt = GroupName + "/issued-at"
	// These four tell of the value before, as long as it works: its id and hash, when
	// it was made, and the instant from which it is refused.
	AnnotationPreviousCredentialID = GroupName + "/previous-credential-id"
	AnnotationPreviousHash         = GroupName + "/previous-hash"
	AnnotationPreviousIssuedAt     = GroupName + "/previous-issued-at"
	AnnotationPreviousNotAfter     = GroupName + "/previous-not-after"
	// AnnotationNextCredentialID and AnnotationNextHash are those of the value that
	// comes next. They are there while the registry gets to know it.
	AnnotationNextCredentialID = GroupName + "/next-credential-id"
	AnnotationNextHash         = GroupName + "/next-hash"
)

// Keys of the Secret that the operator makes for a token, beside .dockerconfigjson.
const (
	// TokenKeyUsername is whom the token acts as.
	TokenKeyUsername = "username"
	// TokenKeyPassword is the token's value.
	TokenKeyPassword = "password"
	// TokenKeyRegistry is the host to log in to.
	TokenKeyRegistry = "registry"
)

// FinalizerData holds an object back until its data is deleted, as
// deletionPolicy Delete asks.
const FinalizerData = GroupName + "/data"
