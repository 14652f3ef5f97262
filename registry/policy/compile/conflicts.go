// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// Contender is an object that may hold what only one object can.
type Contender interface {
	*v1alpha1.PackagesOrganization | *v1alpha1.PackagesRepository | *v1alpha1.PackagesInstance
	metav1.Object
}

// Holder is which of the contenders has effect: the incumbent, whose condition
// Accepted is True, or False for a part of it alone, else the oldest, else the one
// with the least UID, namespace and name. An object that is being deleted holds on until it is gone. contenders must
// not be empty.
func Holder[C Contender](contenders []C) C {
	return slices.MinFunc(contenders, precedence[C])
}

func precedence[C Contender](a, b C) int {
	return cmp.Or(
		-compareBool(incumbent(a), incumbent(b)),
		a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time),
		strings.Compare(string(a.GetUID()), string(b.GetUID())),
		strings.Compare(a.GetNamespace(), b.GetNamespace()),
		strings.Compare(a.GetName(), b.GetName()),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func incumbent[C Contender](object C) bool {
	var conditions []metav1.Condition
	switch object := any(object).(type) {
	case *v1alpha1.PackagesOrganization:
		conditions = object.Status.Conditions
	case *v1alpha1.PackagesRepository:
		conditions = object.Status.Conditions
	case *v1alpha1.PackagesInstance:
		conditions = object.Status.Conditions
	}
	accepted := meta.FindStatusCondition(conditions, v1alpha1.ConditionAccepted)
	return accepted != nil && (accepted.Status == metav1.ConditionTrue || slices.Contains(partialReasons, accepted.Reason))
}

// HostOverlap is a host that both have, and whether there is one. The host sets
// are {HOSTNAME, docker.HOSTNAME} with subdomain isolation, else {HOSTNAME}.
func HostOverlap(a, b policy.Hosts) (string, bool) {
	for _, host := range []string{a.Docker, a.Base} {
		if host == b.Docker || host == b.Base {
			return host, true
		}
	}
	return "", false
}

// HostConflict is the instance that keeps another from its hosts, with a message
// for the one that is kept, or nil. all are the instances of the cluster, with the
// candidate or without. An instance that is itself kept from its hosts by a third
// stands in nobody's way.
func HostConflict(candidate *v1alpha1.PackagesInstance, all []*v1alpha1.PackagesInstance) (*v1alpha1.PackagesInstance, string) {
	others := slices.DeleteFunc(slices.Clone(all), func(other *v1alpha1.PackagesInstance) bool {
		return precedence(candidate, other) <= 0
	})
	slices.SortFunc(others, precedence)
	var holders []*v1alpha1.PackagesInstance
	for _, other := range append(others, candidate) {
		holder, host := overlapping(other, holders)
		if other == candidate && holder != nil {
			return holder, fmt.Sprintf("the PackagesInstance %s/%s has the host %s: choose another hostname, or delete one of the two",
				holder.Namespace, holder.Name, host)
		}
		if holder == nil {
			holders = append(holders, other)
		}
	}
	return nil, ""
}

func overlapping(instance *v1alpha1.PackagesInstance, holders []*v1alpha1.PackagesInstance) (*v1alpha1.PackagesInstance, string) {
	for _, holder := range holders {
		if host, overlap := HostOverlap(HostsOf(&instance.Spec), HostsOf(&holder.Spec)); overlap {
			return holder, host
		}
	}
	return nil, ""
}
