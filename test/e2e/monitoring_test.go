// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var _ = Describe("the manager's metrics", func() {
	It("are for those alone who may get /metrics, over TLS", func(ctx SpecContext) {
		address := portForward(ctx, operatorNamespace, operatorPods(ctx)[0].Name, "8443")
		status, _ := scrapeTLS(ctx, address, "")
		Expect(status).To(Equal(http.StatusUnauthorized), "without a token")
		stranger := accountToken(ctx, "stranger", false)
		status, _ = scrapeTLS(ctx, address, stranger)
		Expect(status).To(Equal(http.StatusForbidden), "with a token without the right")
		status, body := scrapeTLS(ctx, address, accountToken(ctx, "prometheus", true))
		Expect(status).To(Equal(http.StatusOK))
		Expect(string(body)).To(ContainSubstring("go_info{"))
	}, SpecTimeout(specTimeout))
})

// accountToken is a token of a ServiceAccount, which may read metrics or not.
func accountToken(ctx context.Context, name string, mayRead bool) string {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, GenerateName: name + "-"}}
	createForSpec(ctx, account)
	if mayRead {
		createForSpec(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-metrics-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "packages-operator-metrics-reader"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
		})
	}
	request := &authenticationv1.TokenRequest{}
	Expect(env.kube.SubResource("token").Create(ctx, account, request)).To(Succeed())
	return request.Status.Token
}

// scrapeTLS asks for metrics without verifying the certificate, which is new at each
// start of the manager.
func scrapeTLS(ctx context.Context, address, token string) (int, []byte) {
	GinkgoHelper()
	client := &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", nil)
	Expect(err).NotTo(HaveOccurred())
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return response.StatusCode, body
}

// portForward makes a pod's port one of this machine, for the rest of the spec.
func portForward(ctx context.Context, namespace, pod, port string) string {
	GinkgoHelper()
	forward, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cmd, err := env.cluster.Kubectl(forward, "port-forward", "--namespace", namespace, "pod/"+pod, ":"+port)
	Expect(err).NotTo(HaveOccurred())
	stdout, err := cmd.StdoutPipe()
	Expect(err).NotTo(HaveOccurred())
	cmd.Stderr = GinkgoWriter
	Expect(cmd.Start()).To(Succeed())
	DeferCleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	Expect(err).NotTo(HaveOccurred())
	address, _, found := strings.Cut(strings.TrimPrefix(line, "Forwarding from "), " -> ")
	Expect(found).To(BeTrue(), line)
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return address
}
