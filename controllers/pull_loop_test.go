// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry"
	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/policy/watch"
)

// startRegistry runs the registry of the namespace's instance acme as its pod
// does, until the spec ends, and returns its address.
func startRegistry(ctx context.Context, namespace string) string {
	GinkgoHelper()
	instance := get[v1alpha1.PackagesInstance](ctx, namespace, "acme")
	dir, live := GinkgoT().TempDir(), &policy.Live{}
	keys, err := access.CreateKeys(filepath.Join(dir, "keys"), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	source, err := watch.New(watch.Options{
		Config: adminConfig, Namespace: namespace, Instance: instance.Name, InstanceUID: string(instance.UID),
		DataDir: dir, Live: live, Now: time.Now, Report: func(error) {},
	})
	Expect(err).NotTo(HaveOccurred())
	running, stop := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- registry.Run(running, registry.Options{
			Listen: "127.0.0.1:0", DataDir: dir, InstanceUID: string(instance.UID), Keys: keys, Policy: live, Source: source,
			Loopback: true, Version: "test", Log: logr.Discard(),
			Ready: func(listen, _ net.Addr) { ready <- listen.String() },
		})
	}()
	DeferCleanup(func() {
		stop()
		Expect(<-done).To(Succeed())
	})
	node.speakThrough(namespace, live)
	var address string
	Eventually(ready).Should(Receive(&address))
	return address
}

var _ = Describe("Pulling with a token that rotates", Serial, func() {
	const interval, overlap = 24 * time.Hour, time.Hour

	It("never fails, whether the Secret is read for each pull or half an overlap late", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		DeferCleanup(func() { clock.ahead.Store(0) })
		token := newToken(namespace, "monalisa")
		token.Spec.Secret.Type = v1alpha1.TokenSecretDockerConfigJSON
		token.Spec.Rotation = &v1alpha1.TokenRotation{Interval: metav1.Duration{Duration: interval}, Overlap: metav1.Duration{Duration: overlap}}
		create(ctx, newInstance(namespace), newRepository(namespace, "octo-app"))
		address := startRegistry(ctx, namespace)
		create(ctx, token)
		conditions(ctx, token).Should(beReady())

		image, err := name.NewTag(address+"/octocat/octo-app/web:1", name.Insecure)
		Expect(err).NotTo(HaveOccurred())
		// As a kubelet reads an imagePullSecret.
		read := func(ctx context.Context) (authn.AuthConfig, error) {
			var secret corev1.Secret
			if err := admin.Get(ctx, keyOf(namespace, "monalisa-token"), &secret); err != nil {
				return authn.AuthConfig{}, err
			}
			var config struct{ Auths map[string]authn.AuthConfig }
			if err := json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &config); err != nil {
				return authn.AuthConfig{}, err
			}
			return config.Auths["docker."+namespace+".example.com"], nil
		}
		first, err := read(ctx)
		Expect(err).NotTo(HaveOccurred())
		content, err := random.Image(1024, 2)
		Expect(err).NotTo(HaveOccurred())
		Expect(remote.Write(image, content, remote.WithAuth(authn.FromConfig(first)))).To(Succeed())

		looping, stop := context.WithCancel(ctx)
		var loops sync.WaitGroup
		var pulls [2]atomic.Int64
		failures := make(chan error, 1000)
		pull := func(loop int, as authn.AuthConfig) {
			pulled, err := remote.Image(image, remote.WithAuth(authn.FromConfig(as)), remote.WithContext(ctx))
			if err == nil {
				_, err = pulled.Digest()
			}
			if err != nil {
				failures <- fmt.Errorf("loop %d: %w", loop, err)
			}
			pulls[loop].Add(1)
		}
		loops.Go(func() {
			for looping.Err() == nil {
				as, err := read(ctx)
				if err != nil {
					failures <- err
					continue
				}
				pull(0, as)
			}
		})
		var held atomic.Pointer[authn.AuthConfig]
		held.Store(&first)
		loops.Go(func() {
			for looping.Err() == nil {
				pull(1, *held.Load())
			}
		})

		last := first
		touch := func() {
			change(ctx, get[corev1.Secret](ctx, namespace, "monalisa-token"), func(s *corev1.Secret) {
				s.Labels["example.com/touched"] = fmt.Sprint(clock.ahead.Load())
			})
		}
		more := func() {
			GinkgoHelper()
			before := [2]int64{pulls[0].Load(), pulls[1].Load()}
			for loop := range pulls {
				Eventually(pulls[loop].Load).Should(BeNumerically(">", before[loop]+2))
			}
		}
		for range 3 {
			more()
			clock.forward(interval)
			touch()
			Eventually(func() (string, error) {
				now, err := read(ctx)
				return now.Password, err
			}).ShouldNot(Equal(last.Password))
			last, err = read(ctx)
			Expect(err).NotTo(HaveOccurred())
			more()
			clock.forward(overlap / 2)
			more()
			now := last
			held.Store(&now)
			clock.forward(overlap / 2)
			touch()
			more()
		}
		stop()
		loops.Wait()
		close(failures)
		for err := range failures {
			Expect(err).NotTo(HaveOccurred())
		}
		_, err = remote.Image(image, remote.WithAuth(authn.FromConfig(first)), remote.WithContext(ctx))
		Expect(err).To(MatchError(ContainSubstring("UNAUTHORIZED")), "the first value has ended")
	})
})
