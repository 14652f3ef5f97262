// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
)

var update = flag.Bool("update", false, "write testdata anew")

func instance(mutate ...func(*v1alpha1.PackagesInstance)) *v1alpha1.PackagesInstance {
	class := "fast"
	i := &v1alpha1.PackagesInstance{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "acme", UID: "1111"},
		Spec: v1alpha1.PackagesInstanceSpec{
			Hostname: "packages.example.com",
			Storage:  v1alpha1.StorageSpec{Filesystem: &v1alpha1.FilesystemStorage{Size: resource.MustParse("20Gi"), StorageClassName: &class}},
			Exposure: v1alpha1.ExposureSpec{Ingress: &v1alpha1.IngressExposure{
				ClassName:   "web",
				Annotations: map[string]string{"web.example.com/body-size": "0"},
				Labels: map[string]v1alpha1.LabelValue{
					"example.com/team": "a", "app.kubernetes.io/managed-by": "mallory",
				},
				TLS: &v1alpha1.IngressTLS{SecretName: "acme-tls"},
			}},
		},
	}
	for _, m := range mutate {
		m(i)
	}
	return i
}

func withIssuer(i *v1alpha1.PackagesInstance) {
	i.Spec.Exposure.Ingress.TLS = &v1alpha1.IngressTLS{
		IssuerRef: &v1alpha1.IssuerReference{Name: "letsencrypt", Kind: "ClusterIssuer", Group: "cert-manager.io"},
	}
}

func token(secretType v1alpha1.TokenSecretType) *v1alpha1.PackagesToken {
	return &v1alpha1.PackagesToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "monalisa", UID: "2222"},
		Spec: v1alpha1.PackagesTokenSpec{
			InstanceRef: v1alpha1.InstanceReference{Name: "acme"}, User: "monalisa",
			Secret: &v1alpha1.TokenSecret{Name: "monalisa-token", Type: secretType},
		},
	}
}

// TestGolden shows every object as it is applied. Run the test with -update after
// a change, and read what changed.
func TestGolden(t *testing.T) {
	value := desired.TokenValue{
		Value: "pkgt_example", ID: "0123456789abcdef",
		IssuedAt: time.Date(2026, 11, 22, 12, 0, 0, 0, time.FixedZone("CET", 3600)),
	}
	hosts := []string{"docker.packages.example.com", "packages.example.com"}
	for name, object := range map[string]any{
		"statefulset": desired.StatefulSet(instance(), "example.com/packages-operator:1", "1111", nil),
		"statefulset-behind-proxies": desired.StatefulSet(instance(), "example.com/packages-operator:1", "1111", []netip.Prefix{
			netip.MustParsePrefix("fd00:10::/64"), netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10::/64"),
		}),
		"statefulset-placed": desired.StatefulSet(instance(func(i *v1alpha1.PackagesInstance) {
			i.Spec.PodTemplate = v1alpha1.PodTemplate{
				Labels:      map[string]v1alpha1.LabelValue{"example.com/team": "a", "app.kubernetes.io/component": "mallory"},
				Annotations: map[string]string{"example.com/note": "any text"},
				Resources: v1alpha1.PodResources{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")},
					Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
				},
				NodeSelector: map[string]string{"kubernetes.io/arch": "arm64"},
				Tolerations:  []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpEqual, Value: "registry", Effect: corev1.TaintEffectNoSchedule}},
				Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
					TopologyKey: "zone", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
				}}}},
				TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: corev1.ScheduleAnyway}},
				PriorityClassName:         "system-cluster-critical",
			}
		}), "example.com/packages-operator:1", "1111", nil),
		"service":                             desired.Service(instance(), ""),
		"service-kong":                        desired.Service(instance(), "ingress-controllers.konghq.com/kong"),
		"persistentvolumeclaim":               desired.PersistentVolumeClaim(instance(), "1111", resource.MustParse("20Gi"), instance().Spec.Storage.Filesystem.StorageClassName),
		"persistentvolumeclaim-default-class": desired.PersistentVolumeClaim(instance(), "0000", resource.MustParse("20Gi"), nil),
		"keys":                                desired.KeysSecret(instance(), map[string][]byte{"kid": bytes.Repeat([]byte{1}, desired.KeyLength)}),
		"serviceaccount":                      desired.ServiceAccount(instance()),
		"role":                                desired.Role(instance()),
		"rolebinding":                         desired.RoleBinding(instance()),
		"ingress":                             desired.Ingress(instance(), hosts, desired.IngressClass{Name: "web", Controller: "example.com/web"}),
		"ingress-bare": desired.Ingress(instance(func(i *v1alpha1.PackagesInstance) {
			i.Spec.Exposure.Ingress = &v1alpha1.IngressExposure{}
		}), hosts[1:], desired.IngressClass{}),
		"ingress-nginx": desired.Ingress(instance(), hosts, desired.IngressClass{Name: "web", Controller: "k8s.io/ingress-nginx"}),
		"httproute-docker": desired.HTTPRoute(instance(func(i *v1alpha1.PackagesInstance) {
			i.Spec.Exposure = v1alpha1.ExposureSpec{Gateway: &v1alpha1.GatewayExposure{
				ParentRefs:  []v1alpha1.GatewayReference{{Name: "web", Namespace: "infra", SectionName: "https", Port: 443}, {Name: "internal"}},
				Annotations: map[string]string{"external-dns.alpha.kubernetes.io/ttl": "60"},
				Labels:      map[string]v1alpha1.LabelValue{"example.com/team": "a", "packages-operator.io/instance": "mallory"},
			}}
		}), desired.RouteHost{Name: hosts[0], Docker: true}),
		"httproute": desired.HTTPRoute(instance(func(i *v1alpha1.PackagesInstance) {
			i.Spec.Exposure = v1alpha1.ExposureSpec{Gateway: &v1alpha1.GatewayExposure{ParentRefs: []v1alpha1.GatewayReference{{Name: "web"}}}}
		}), desired.RouteHost{Name: hosts[1]}),
		"certificate": desired.Certificate(instance(withIssuer), hosts),
		"certificate-elsewhere": desired.Certificate(instance(withIssuer, func(i *v1alpha1.PackagesInstance) {
			i.Spec.Exposure.Ingress.TLS.SecretName = "mine"
		}), hosts[1:]),
		"ingress-issued": desired.Ingress(instance(withIssuer), hosts, desired.IngressClass{}),
		"policy-head": desired.PackagesPolicy(instance(), policy.Shard{
			Index: 0, FormatVersion: 1, Revision: "abc", Parts: []string{"sha256:a", "sha256:b"}, Document: "{}",
		}),
		"policy-part": desired.PackagesPolicy(instance(), policy.Shard{Index: 1, FormatVersion: 1, Document: "{}"}),
		"token":       desired.TokenSecret(token(v1alpha1.TokenSecretOpaque), value, hosts[0]),
		"token-rotating": desired.TokenSecret(token(v1alpha1.TokenSecretOpaque), desired.TokenValue{
			Value: value.Value, ID: value.ID, IssuedAt: value.IssuedAt,
			Previous: &desired.PastValue{
				ValueHash: desired.ValueHash{ID: "previous", Hash: credential.Sum("previous")},
				IssuedAt:  value.IssuedAt.Add(-time.Hour), NotAfter: value.IssuedAt.Add(time.Hour),
			},
			Next: &desired.ValueHash{ID: "next", Hash: credential.Sum("next")},
		}, hosts[0]),
		"token-docker": desired.TokenSecret(token(v1alpha1.TokenSecretDockerConfigJSON), value, hosts[0]),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := yaml.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestNotWanted(t *testing.T) {
	if got := desired.Ingress(instance(func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure.Ingress = nil }), nil, desired.IngressClass{}); got != nil {
		t.Errorf("an instance that is not exposed has the Ingress %v", got)
	}
	if got := desired.HTTPRoute(instance(), desired.RouteHost{Name: "a.test"}); got != nil {
		t.Errorf("an instance that is not exposed through a Gateway has the HTTPRoute %v", got)
	}
	if got := desired.Certificate(instance(), nil); got != nil {
		t.Errorf("an instance without an issuer has the Certificate %v", got)
	}
	if got := desired.PersistentVolumeClaim(instance(func(i *v1alpha1.PackagesInstance) { i.Spec.Storage.Filesystem = nil }), "", resource.MustParse("1Gi"), nil); got != nil {
		t.Errorf("an instance without a filesystem has the claim %v", got)
	}
	brought := token("")
	brought.Spec.Secret = nil
	if got := desired.TokenSecret(brought, desired.TokenValue{}, ""); got != nil {
		t.Errorf("a token whose value is brought has the Secret %v", got)
	}
}

func TestSuspendedInstanceHasNoPods(t *testing.T) {
	set := desired.StatefulSet(instance(func(i *v1alpha1.PackagesInstance) { i.Spec.Suspend = true }), "image", "1111", nil)
	if *set.Spec.Replicas != 0 {
		t.Errorf("replicas: %d", *set.Spec.Replicas)
	}
}

// What may change while the registry runs must not be in the template: a pod that
// restarts for it would interrupt pushes.
func TestPodTemplateKeepsStill(t *testing.T) {
	before := desired.StatefulSet(instance(), "image", "1111", nil).Spec.Template
	after := desired.StatefulSet(instance(func(i *v1alpha1.PackagesInstance) {
		i.Generation++
		i.Spec.Hostname = "other.example.com"
		i.Spec.SubdomainIsolation = v1alpha1.SubdomainIsolationDisabled
		i.Spec.Docker = v1alpha1.DockerSpec{Support: v1alpha1.SupportReadOnly, AnonymousPull: v1alpha1.AnonymousPullPublicRepositories}
		i.Spec.Exposure = v1alpha1.ExposureSpec{}
		i.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
		i.Spec.Storage.Filesystem.Size = resource.MustParse("40Gi")
	}), "image", "1111", nil).Spec.Template
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the template changes with the spec:\n%s", diff)
	}
}

func TestUsableKeys(t *testing.T) {
	good, short := make([]byte, desired.KeyLength), make([]byte, desired.KeyLength-1)
	for name, test := range map[string]struct {
		data map[string][]byte
		want bool
	}{
		"none":           {nil, false},
		"one":            {map[string][]byte{"a": good}, true},
		"two":            {map[string][]byte{"a": good, "b": good}, true},
		"one too short":  {map[string][]byte{"a": good, "b": short}, false},
		"nothing in one": {map[string][]byte{"a": {}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := desired.UsableKeys(test.data); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestARequestIsNeverAboveItsLimit(t *testing.T) {
	placed := instance(func(i *v1alpha1.PackagesInstance) {
		i.Spec.PodTemplate.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m")}
	})
	container := desired.StatefulSet(placed, "image", "1111", nil).Spec.Template.Spec.Containers[0]
	if got := (*container.Resources.Requests)[corev1.ResourceCPU]; got.String() != "20m" {
		t.Errorf("a container with a limit of 20m asks for %s of cpu", got.String())
	}
}
