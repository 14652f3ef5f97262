// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/packages-operator/packages-operator/controllers/desired"
)

// PodStatus is what a registry pod says about itself.
type PodStatus struct {
	Instance struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
		UID       string `json:"uid"`
	} `json:"instance"`
	// PolicyRevision is the policy that the pod enforces.
	PolicyRevision string `json:"policyRevision"`
	// PolicyError is why the pod does not take a newer policy.
	PolicyError string `json:"policyError"`
	// Purged are the ids of the purges that the pod has done.
	Purged []string `json:"purged"`
	// Troubles are what is wrong with the registry now.
	Troubles []string `json:"troubles"`
	Version  string   `json:"version"`
}

// PodStatusReader asks a pod how it is. It is called concurrently.
type PodStatusReader interface {
	PodStatus(ctx context.Context, pod *corev1.Pod) (PodStatus, error)
}

const (
	podStatusTimeout  = 2 * time.Second
	maxPodStatusBytes = 1 << 20
)

// NewPodStatusReader returns the reader that asks over the network, at the pod's
// admin port.
func NewPodStatusReader() PodStatusReader {
	return &httpPodStatus{client: &http.Client{
		Timeout: podStatusTimeout,
		// Pods are reached directly, whatever proxy leads outside; and no pod may
		// send the manager elsewhere.
		Transport:     &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirected") },
	}}
}

type httpPodStatus struct{ client *http.Client }

func (h *httpPodStatus) PodStatus(ctx context.Context, pod *corev1.Pod) (PodStatus, error) {
	if pod.Status.PodIP == "" {
		return PodStatus{}, errors.New("pod has no address yet")
	}
	url := "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(desired.AdminPort)) + "/status"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return PodStatus{}, fmt.Errorf("asking pod %s: %w", pod.Name, err)
	}
	response, err := h.client.Do(request)
	if err != nil {
		return PodStatus{}, fmt.Errorf("asking pod %s: %w", pod.Name, err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	if response.StatusCode != http.StatusOK {
		return PodStatus{}, fmt.Errorf("asking pod %s: it answered %s", pod.Name, response.Status)
	}
	var status PodStatus
	if err := json.NewDecoder(io.LimitReader(response.Body, maxPodStatusBytes)).Decode(&status); err != nil {
		return PodStatus{}, fmt.Errorf("reading the answer of pod %s: %w", pod.Name, err)
	}
	return status, nil
}
