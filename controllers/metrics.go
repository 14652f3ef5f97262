// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// instanceReady is of the manager that acts. Its labels are none that a scraper
// gives to what it scrapes.
var instanceReady = prometheus.NewGaugeVec(prometheus.GaugeOpts{
	Name: "packages_operator_instance_ready",
	Help: "1 while the condition Ready of a PackagesInstance is True, else 0.",
}, []string{"instance_namespace", "instance_name"})

func init() { metrics.Registry.MustRegister(instanceReady) }

func measureInstance(instance *v1alpha1.PackagesInstance) {
	ready := 0.0
	if meta.IsStatusConditionTrue(instance.Status.Conditions, v1alpha1.ConditionReady) {
		ready = 1
	}
	instanceReady.WithLabelValues(instance.Namespace, instance.Name).Set(ready)
}

func forgetInstance(key types.NamespacedName) {
	instanceReady.DeleteLabelValues(key.Namespace, key.Name)
}
