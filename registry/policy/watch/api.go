// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// resource is the plural of PackagesPolicy.
const resource = "packagespolicies"

// api lists and watches the PackagesPolicy objects of one instance.
type api struct {
	rest      rest.Interface
	namespace string
	instance  string
}

func newAPI(o Options) (api, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return api{}, err
	}
	config := rest.CopyConfig(o.Config)
	config.APIPath = "/apis"
	config.GroupVersion = &v1alpha1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	restClient, err := rest.RESTClientFor(config)
	if err != nil {
		return api{}, err
	}
	return api{rest: restClient, namespace: o.Namespace, instance: o.Instance}, nil
}

// list reads the newest state. An answer from the API server's cache could be
// older than what is in force, and bring back what was revoked.
func (c api) list(ctx context.Context) (*v1alpha1.PackagesPolicyList, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	options := listOptions(c.instance)
	list := new(v1alpha1.PackagesPolicyList)
	err := c.rest.Get().Namespace(c.namespace).Resource(resource).
		VersionedParams(&options, metav1.ParameterCodec).
		MaxRetries(0). // Run tries again, and says so
		Do(ctx).Into(list)
	return list, err
}

func (c api) watch(ctx context.Context, resourceVersion string) (watch.Interface, error) {
	options := listOptions(c.instance)
	options.Watch = true
	// About once a minute the server says that there is nothing new.
	options.AllowWatchBookmarks = true
	options.ResourceVersion = resourceVersion
	seconds := int64((watchDuration + rand.N(watchDuration)) / time.Second) //nolint:gosec // a spread, no secret
	options.TimeoutSeconds = &seconds
	return c.rest.Get().Namespace(c.namespace).Resource(resource).
		VersionedParams(&options, metav1.ParameterCodec).
		MaxRetries(0).
		Watch(ctx)
}
