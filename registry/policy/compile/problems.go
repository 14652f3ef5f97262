// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// Problem says why an object, or a part of it, has no effect. Kind, Namespace and
// Name are the object's; Reason is one of v1alpha1's reasons of conditions, and
// Message is for a person. There is at most one for each object.
type Problem struct {
	Kind      string
	Namespace string
	Name      string
	Reason    string
	Message   string
	// Field is what the problem is about, such as spec.access.users[0], and empty
	// where that is the object as a whole.
	Field string
	// Partial says that the rest of the object has effect.
	Partial bool
}

// Kinds of Problem.
const (
	KindOrganization = "PackagesOrganization"
	KindRepository   = "PackagesRepository"
	KindToken        = "PackagesToken"
)

// partialReasons are the reasons of problems that leave the object its name.
var partialReasons = []string{v1alpha1.ReasonUserIsOrganization, v1alpha1.ReasonNotAMember, v1alpha1.ReasonTeamNotFound,
	v1alpha1.ReasonServiceAccountNotFound, v1alpha1.ReasonIssuerUnknown}

// fault is an entry of an object that gives nothing.
type fault struct{ reason, field, message string }

// partial tells the first few of the faults; those that only a change of a name can
// mend come first. faults must not be empty.
func partial(kind string, object metav1.Object, faults []fault) Problem {
	const most = 3
	slices.SortStableFunc(faults, func(a, b fault) int {
		return slices.Index(partialReasons, a.reason) - slices.Index(partialReasons, b.reason)
	})
	var sentences []string
	for _, f := range faults[:min(most, len(faults))] {
		sentences = append(sentences, f.field+": "+f.message)
	}
	if more := len(faults) - most; more > 0 {
		sentences = append(sentences, fmt.Sprintf("and %d more", more))
	}
	return Problem{
		Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(),
		Reason: faults[0].reason, Message: strings.Join(sentences, "; "), Field: faults[0].field, Partial: true,
	}
}
